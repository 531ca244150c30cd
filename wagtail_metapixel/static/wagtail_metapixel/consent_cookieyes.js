/*!
 * wagtail-metapixel: CookieYes, by its function getCkyConsent() and its events. Needs consent_watch.js before it.
 *
 * Where the law is one of opting out, its categories are on without a yes; the cookie then holds "consent:no".
 */
(() => {
  'use strict';
  const { adapt } = window.metapixel || {};

  const ask = ({ category }, cookie) => {
    if (typeof window.getCkyConsent !== 'function') return undefined; // still loading
    const { isUserActionCompleted, categories } = window.getCkyConsent();
    if (isUserActionCompleted !== true) return 'unknown';
    // Another tab may have changed the cookie since this page was loaded.
    const kept = decodeURIComponent(cookie('cookieyes-consent')).split(',');
    if (categories[category] === false || kept.includes(`${category}:no`)) return 'denied';
    return kept.includes('consent:yes') && categories[category] === true ? 'granted' : 'unknown';
  };

  const tool = adapt && adapt(ask);
  if (!tool) return;
  ['cookieyes_banner_load', 'cookieyes_consent_update'].forEach((name) =>
    document.addEventListener(name, tool.heard));
})();
