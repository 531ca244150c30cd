/*!
 * wagtail-metapixel: wagtail-tag-manager, by its cookie "wtm". Needs consent_watch.js before it. The package has no
 * event: its banner sends a form, and the page loads anew.
 */
(() => {
  'use strict';
  const { adapt } = window.metapixel || {};

  const ask = ({ category }, cookie) => {
    const kept = cookie('wtm');
    if (!kept) return undefined;
    const { meta, state } = JSON.parse(atob(decodeURIComponent(kept)));
    // "false" is written, for some types "true", before anybody was asked; this is there after an answer.
    if (!(typeof meta.set_timestamp === 'number' && meta.set_timestamp > 0)) return 'unknown';
    if (state[category] === 'true') return 'granted';
    return state[category] === 'false' ? 'denied' : 'unknown';
  };

  if (adapt) adapt(ask);
})();
