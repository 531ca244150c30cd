/*!
 * wagtail-metapixel: a function of the site's own. Needs consent_watch.js before it.
 *
 *   window.metapixelConsent = () => "granted";                        // or "denied", or "unknown"
 *   document.dispatchEvent(new Event("metapixel:consent"));           // after every change
 */
(() => {
  'use strict';
  const { adapt } = window.metapixel || {};
  const ask = () => (typeof window.metapixelConsent === 'function' ? window.metapixelConsent() || 'unknown' : undefined);
  if (adapt) adapt(ask, { mirrored: true, live: true });
})();
