/*!
 * wagtail-metapixel: what the files for other people's consent tools have in common. It stands before one of them,
 * which calls metapixel.adapt(ask, {mirrored, set}); explained in docs/consent.md.
 *
 * - ask(names, cookie) says what the tool says: granted | denied | unknown, or nothing while it has not loaded.
 * - mirrored: the server cannot see the tool's answer, so it is written into the cookie "metapixel_choice".
 * - set(allowed, names) hands a choice to the tool.
 * - The answer of adapt() is {config, heard}: heard() is for every event of the tool.
 */
(() => {
  'use strict';
  const api = (window.metapixel = window.metapixel || {});
  if (api.adapt) return; // the file stands on the page twice

  const MIRROR = 'metapixel_choice';
  const OBJECTION = 'metapixel_consent'; // "denied" when the visitor withdrew with us, not in the tool

  const cookie = (name) => {
    try {
      const pair = document.cookie.split('; ').find((one) => one.startsWith(name + '='));
      // Python puts quotes around a value with a slash or an equals sign in it.
      return pair ? pair.slice(name.length + 1).replace(/^"(.*)"$/, '$1') : '';
    } catch (error) {
      return ''; // storage is blocked
    }
  };
  const write = (name, value, seconds) => {
    try {
      const secure = location.protocol === 'https:' ? '; Secure' : '';
      document.cookie = `${name}=${value}; Path=/; Max-Age=${seconds}; SameSite=Lax${secure}`;
    } catch (error) {
      // Storage is blocked: the server goes on without an answer, which is a no.
    }
  };
  const objected = () => /^denied(\.|$)/.test(cookie(OBJECTION));

  api.adapt = (ask, { mirrored, set } = {}) => {
    if (api.consent) return undefined; // the site has another tool, or the file stands on the page twice
    let config = {};
    try {
      config = JSON.parse(document.querySelector('script#metapixel-config').textContent) || {};
    } catch (error) {
      // No island: the core does nothing either.
    }
    const names = config.tool || {};
    const watchers = [];
    let spoken; // what the tool said last
    let told;

    const tool = () => {
      try {
        return ask(names, cookie);
      } catch (error) {
        return 'unknown';
      }
    };
    const read = () => {
      const answer = tool();
      if (answer === 'granted') return objected() ? 'denied' : 'granted';
      return answer === 'denied' ? 'denied' : 'unknown';
    };

    const refresh = () => {
      if (document.prerendering) return; // nobody looks at the page yet
      const answer = tool();
      // The tool says no itself, or yes after a no: what the visitor told us beside it is settled.
      const settled = answer === 'denied' || (answer === 'granted' && spoken === 'denied');
      if (settled && objected()) write(OBJECTION, '', 0);
      spoken = answer || spoken;
      const state = read();
      if (mirrored && answer) {
        if (state !== 'unknown') write(MIRROR, state, 86400);
        else if (cookie(MIRROR)) write(MIRROR, '', 0);
      }
      if (state === told) return;
      told = state;
      watchers.forEach((callback) => {
        try {
          callback(state);
        } catch (error) {
          // One watcher must not keep the others from hearing.
        }
      });
    };
    const heard = () => {
      refresh();
      setTimeout(refresh, 500); // some tools tell first and write down afterwards
    };

    const choose = async (choice) => {
      try {
        if (choice === 'withdrawn') {
          const body = JSON.stringify({ choice });
          const answer = await fetch(config.consent, { method: 'POST', body, mode: 'same-origin', keepalive: true });
          if (!answer.ok) return false;
        }
        if (choice === 'granted' || tool() !== 'denied') set(choice === 'granted', names);
        heard();
        return true;
      } catch (error) {
        return false;
      }
    };

    api.consent = { read, watch: (callback) => watchers.push(callback), ...(set && { choose }) };
    refresh();
    // Another tab may have answered; a page may return from the back/forward cache with an old answer.
    ['visibilitychange', 'prerenderingchange'].forEach((name) => document.addEventListener(name, refresh));
    ['load', 'pageshow', 'pagehide'].forEach((name) => window.addEventListener(name, refresh));
    document.addEventListener('metapixel:consent', heard); // the site's own word that something changed
    return { config, heard };
  };
})();
