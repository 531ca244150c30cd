/*!
 * wagtail-metapixel: Meta's script, and all that is said to fbq. Its place is before metapixel.js.
 *
 * metapixel.meta = {start(config, settle), fire(name, params, id, only), consent(word)}: called by metapixel.js, and
 *   only after a grant. settle("loaded" | "failed" | "shared") is called when it is known what became of Meta's script:
 *   shared with somebody else's pixel.
 * With "data_layer" in the config island nothing is said to fbq: events are handed to the page's tag manager.
 * With "early" Meta's script is loaded before the answer and told to wait; it learns of no pixel before start().
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
  let early = false; // loaded before the answer
  let outcome; // of loading Meta's script, once it is known
  let heard; // who wants to know it
  let layer; // the tag manager's queue, where it is told instead of fbq
  let limited; // Limited Data Use
  let address; // of Meta's script, until it is loaded
  let refused; // the last word was a no

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

  const settled = (word) => {
    outcome = word;
    heard?.(word);
  };

  const load = () => {
    if (!address || refused) return;
    const script = document.createElement('script');
    script.onload = () => settled('loaded');
    script.onerror = () => settled('failed');
    try {
      script.src = trusted(address);
      address = '';
      document.head.append(script);
    } catch (error) {
      settled('failed');
    }
  };

  // The pixels that somebody else has started, or will, when the queue is read.
  const known = () => {
    const started = Object.values(fbq.getState?.()?.pixels || []).map(({ id }) => id);
    const waiting = [...(fbq.queue || [])].filter(([verb]) => verb === 'init').map(([, id]) => id);
    return [...started, ...waiting].map(String);
  };

  const isShared = () => !ours || known().some((other) => !pixels.some(({ id }) => id === other));

  const handOver = () => {
    // An element of that name takes nothing.
    if (typeof window.dataLayer?.push !== 'function') window.dataLayer = [];
    layer = window.dataLayer;
  };

  const start = (config, settle) => {
    pixels = config.pixels.filter(({ events }) => !events || events.length);
    limited = config.ldu;
    refused = false; // a no that came before
    if (!pixels.length) return settle('failed');
    if (config.data_layer) {
      handOver();
      return settle('loaded');
    }
    if (early) {
      fbq('consent', 'grant');
    } else if (typeof window.fbq !== 'function') {
      stub();
      address = config.script;
      setTimeout(load); // a task of its own
    } else {
      console.info('metapixel: another Meta pixel is on this page, no second script is loaded');
      if (fbq.callMethod) outcome = 'loaded';
    }
    heard = (word) => settle(word === 'loaded' && isShared() ? 'shared' : word);
    if (outcome) heard(outcome);
    if (limited) fbq('dataProcessingOptions', ['LDU'], 0, 0); // of all the page's pixels; it has to come before init
    const init = (...person) => {
      const there = known();
      pixels.filter(({ id }) => !there.includes(id)).forEach(({ id }) => {
        if (!config.auto_config) fbq('set', 'autoConfig', false, id); // or Meta's script adds events that have no id
        fbq('init', id, ...person);
      });
    };
    api.matching ? api.matching.begin(config, init) : init();
  };

  // "only" are the pixels named by an action event; a page event goes to those that want it.
  const fire = (name, params, id, only) => {
    // Somebody else, or nobody, has signed in since init named one, which cannot be taken back.
    if (api.matching?.isStale()) return;
    if (api.matching?.keeps(() => fire(name, params, id, only))) return;
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
    const kept = fbq.queue.filter(([verb]) => !/^(consent|track)/.test(verb));
    fbq.queue.splice(0, Infinity, ['consent', 'revoke'], ...kept);
  };

  const consent = (word) => {
    api.matching?.hears(word);
    refused = word === 'revoke';
    load();
    if (ours && word === 'revoke' && !fbq.callMethod) drop();
    else if (ours) fbq('consent', word);
  };

  // Only where the owner stated that nobody has to opt in: nothing else of this file runs before a grant.
  const prepare = () => {
    try {
      const config = JSON.parse(document.querySelector('script#metapixel-config').textContent);
      const told = api.consent.read();
      const out = /(?:^|; )metapixel_(?:off(?:=|;|$)|consent=denied)/.test(document.cookie);
      const opted = navigator.globalPrivacyControl && config.gpc !== false;
      if (!config.early || told !== 'unknown' || out || opted || window.fbq) return;
      stub();
      fbq('consent', 'revoke');
      early = true;
      address = config.script;
      load();
    } catch (error) {
      // No island, or storage is blocked: loaded after the answer, as everywhere.
    }
  };

  api.meta = { start, fire, consent };
  if (document.prerendering) document.addEventListener('prerenderingchange', prepare, { once: true });
  else prepare();
})();
