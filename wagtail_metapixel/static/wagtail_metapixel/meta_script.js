/*!
 * wagtail-metapixel: Meta's script, and everything that is said to fbq. Its place is before metapixel.js; a site whose
 * pixels all send from the server alone does not need it.
 *
 * metapixel.meta = {start(config, settle), fire(name, params, id, only), consent(word)}: called by metapixel.js, and
 *   only after a grant. settle("loaded" | "failed") is called when it is known what became of Meta's script.
 * With "data_layer" in the config island nothing is said to fbq: events are handed to the page's tag manager.
 */
(() => {
  'use strict';
  const api = (window.metapixel = window.metapixel || {});
  if (api.meta) return; // the file stands on the page twice

  const STANDARD = new Set((
    'PageView AddPaymentInfo AddToCart AddToWishlist CompleteRegistration Contact CustomizeProduct Donate FindLocation ' +
    'InitiateCheckout Lead Purchase Schedule Search StartTrial SubmitApplication Subscribe ViewContent'
  ).split(' '));

  let pixels = []; // those that send from the browser
  let ours = false; // fbq is our own stub
  let layer; // the tag manager's queue, where it is told instead of fbq
  let limited; // Limited Data Use

  // Meta's queue protocol.
  const stub = () => {
    const fbq = (window.fbq = function () {
      fbq.callMethod ? fbq.callMethod.apply(fbq, arguments) : fbq.queue.push(arguments);
    });
    Object.assign(fbq, { push: fbq, loaded: true, version: '2.0', queue: [] });
    // Its own page views would have no id; ours have, and a second one of an address is meant.
    Object.assign(fbq, { disablePushState: true, allowDuplicatePageViews: true });
    window._fbq = window._fbq || fbq;
    ours = true;
  };

  const trusted = (url) => {
    try {
      return trustedTypes.createPolicy('metapixel', { createScriptURL: (own) => own }).createScriptURL(url);
    } catch (error) {
      return url; // no Trusted Types, or no policy
    }
  };

  const load = (url, settle) => {
    const script = document.createElement('script');
    script.onload = () => settle('loaded');
    script.onerror = () => settle('failed');
    try {
      script.src = trusted(url);
      document.head.append(script);
    } catch (error) {
      settle('failed');
    }
  };

  // The pixels that somebody else has started, or will, when the queue is read.
  const known = () => {
    const state = fbq.getState && fbq.getState();
    const waiting = Array.from(fbq.queue || []).filter(([verb]) => verb === 'init').map(([, id]) => id);
    return [...Object.values((state && state.pixels) || []).map(({ id }) => id), ...waiting].map(String);
  };

  const handOver = () => {
    // What else bears that name, such as an element of the page, takes nothing.
    if (typeof window.dataLayer?.push !== 'function') window.dataLayer = [];
    layer = window.dataLayer;
  };

  const start = (config, settle) => {
    pixels = config.pixels.filter(({ events }) => !events || events.length);
    limited = config.ldu;
    if (!pixels.length) return settle('failed');
    if (config.data_layer) {
      handOver();
      return settle('loaded');
    }
    if (typeof window.fbq !== 'function') {
      stub();
      load(config.script, settle);
    } else {
      console.info('metapixel: another Meta pixel is on this page, no second script is loaded');
      if (fbq.callMethod) settle('loaded');
    }
    const there = known();
    if (limited) fbq('dataProcessingOptions', ['LDU'], 0, 0); // of all the page's pixels; it has to come before init
    pixels.filter(({ id }) => !there.includes(id)).forEach(({ id }) => {
      fbq('set', 'autoConfig', false, id); // or Meta's script adds events that have no id
      fbq('init', id);
    });
  };

  // "only" are the pixels named by an action event; a page event goes to those that want it.
  const fire = (name, params, id, only) => {
    const verb = STANDARD.has(name) ? 'trackSingle' : 'trackSingleCustom';
    const wanting = pixels.filter((one) => (only ? only.includes(one.id) : !one.events || one.events.includes(name)));
    if (!layer) wanting.forEach((one) => fbq(verb, one.id, name, params, { eventID: id }));
    else if (wanting.length) {
      const limit = limited && { data_processing_options: ['LDU'] };
      layer.push({ event: 'metapixel', event_name: name, event_id: id, custom_data: params, ...limit });
    }
  };

  // Before Meta's script has come, what waits for it must not be told when it does.
  const drop = () => {
    const kept = fbq.queue.filter(([verb]) => !verb.startsWith('track'));
    fbq.queue.splice(0, Infinity, ['consent', 'revoke'], ...kept);
  };

  const consent = (word) => {
    if (!ours) return;
    if (word === 'revoke' && !fbq.callMethod) drop();
    else fbq('consent', word);
  };

  api.meta = { start, fire, consent };
})();
