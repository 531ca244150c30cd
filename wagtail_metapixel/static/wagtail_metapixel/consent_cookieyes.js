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
    if (categories[category] === false) return 'denied';
    const agreed = decodeURIComponent(cookie('cookieyes-consent')).split(',').includes('consent:yes');
    return agreed && categories[category] === true ? 'granted' : 'unknown';
  };

  const tool = adapt && adapt(ask);
  if (!tool) return;
  ['cookieyes_banner_load', 'cookieyes_consent_update'].forEach((name) =>
    document.addEventListener(name, tool.heard));
})();
