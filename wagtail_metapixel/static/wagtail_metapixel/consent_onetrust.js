/*!
 * wagtail-metapixel: OneTrust, by its list "OnetrustActiveGroups" and its events. Needs consent_watch.js before it.
 *
 * The list is there before anybody answered, with the account's defaults. That there was an answer is told by the
 * cookie "OptanonAlertBoxClosed"; that it is to be asked again, by "OptanonConsent".
 */
(() => {
  'use strict';
  const { adapt } = window.metapixel || {};

  const ask = ({ category }, cookie) => {
    const groups = window.OnetrustActiveGroups;
    if (typeof groups !== 'string') return undefined; // still loading
    const answered = /^\d{4}-\d\d-\d\dT/.test(cookie('OptanonAlertBoxClosed'));
    if (!answered || /(?:^|&)AwaitingReconsent=true(?:&|$)/.test(cookie('OptanonConsent'))) return 'unknown';
    return category && groups.split(',').includes(category) ? 'granted' : 'denied';
  };

  const tool = adapt && adapt(ask);
  if (!tool) return;
  ['OneTrustGroupsUpdated', 'OTConsentApplied'].forEach((name) => window.addEventListener(name, tool.heard));
})();
