/*! wagtail-metapixel: Cookiebot, by its object "Cookiebot" and its events. Needs consent_watch.js before it. */
(() => {
  'use strict';
  const { adapt } = window.metapixel || {};
  const CATEGORIES = ['preferences', 'statistics', 'marketing'];

  // "{stamp:'…',necessary:true,marketing:false,…}": another tab may have changed it since this page was loaded.
  const refused = (text, category) => decodeURIComponent(text).split(/[{,}]/).includes(`${category}:false`);

  const ask = ({ category }, cookie) => {
    const { Cookiebot } = window;
    if (!Cookiebot || !Cookiebot.consent) return undefined; // still loading
    const kept = cookie('CookieConsent');
    if (!Cookiebot.hasResponse || !kept) return 'unknown';
    const { [category]: allowed, method } = Cookiebot.consent;
    if (allowed === false || refused(kept, category)) return 'denied';
    // What Cookiebot assumes by itself ("implied", where it does not ask) is nobody's answer.
    return allowed === true && method === 'explicit' ? 'granted' : 'unknown';
  };

  // The other categories stay as they are.
  const set = (allowed, { category }) => {
    const { Cookiebot } = window;
    const wanted = { ...Cookiebot.consent, [category]: allowed };
    Cookiebot.submitCustomConsent(...CATEGORIES.map((name) => wanted[name] === true));
  };

  const tool = adapt && adapt(ask, { set });
  if (!tool) return;
  ['CookiebotOnConsentReady', 'CookiebotOnAccept', 'CookiebotOnDecline'].forEach((name) =>
    window.addEventListener(name, tool.heard));
})();
