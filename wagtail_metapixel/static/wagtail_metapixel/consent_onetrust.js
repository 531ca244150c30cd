/*!
 * wagtail-metapixel: OneTrust, by its list "OnetrustActiveGroups" and its events. Needs consent_watch.js before it.
 *
 * The list is there before anybody answered, with the account's defaults. That there was an answer is told by the
 * cookie "OptanonAlertBoxClosed"; that it is to be asked again, by "OptanonConsent".
 */
(() => {
  'use strict';
  const { adapt } = window.metapixel || {};

  // "…&groups=C0001%3A1%2CC0004%3A0&…": another tab may have changed it since this page was loaded.
  const refused = (text, category) => {
    const [, groups = ''] = text.match(/(?:^|&)groups=([^&]*)/) || [];
    return decodeURIComponent(groups).split(',').includes(`${category}:0`);
  };

  const ask = ({ category }, cookie) => {
    const groups = window.OnetrustActiveGroups;
    if (typeof groups !== 'string') return undefined; // still loading
    const answered = /^\d{4}-\d\d-\d\dT/.test(cookie('OptanonAlertBoxClosed'));
    if (!answered || /(?:^|&)AwaitingReconsent=true(?:&|$)/.test(cookie('OptanonConsent'))) return 'unknown';
    if (refused(cookie('OptanonConsent'), category)) return 'denied';
    return category && groups.split(',').includes(category) ? 'granted' : 'denied';
  };

  const tool = adapt && adapt(ask);
  if (!tool) return;
  ['OneTrustGroupsUpdated', 'OTConsentApplied'].forEach((name) => window.addEventListener(name, tool.heard));
})();
