/*!
 * wagtail-metapixel: what the files for other people's consent tools have in common. It stands before one of them,
 * which calls metapixel.adapt(ask, {mirrored, live, set}); explained in docs/consent.md.
 *
 * - ask(names, cookie) says what the tool says: granted | denied | unknown, or nothing while it has not loaded.
 * - mirrored: the server cannot see the tool's answer, so it is written into the cookie "metapixel_choice".
 * - live: the event "metapixel:consent" is the tool's own word, and ask() does not repeat an older one.
 * - set(allowed, names) hands a choice to the tool.
 * - The answer of adapt() is {config, heard}: heard() is for every event of the tool, heard(true) for one that says
 *   that the visitor has answered just now, even if the answer is the same.
 */
(() => {
  'use strict';
  const api = (window.metapixel = window.metapixel || {});
  if (api.adapt) return; // the file stands on the page twice

  const MIRROR = 'metapixel_choice';
  const OBJECTION = 'metapixel_consent'; // "denied" when the visitor withdrew with us, not in the tool

  const values = (name) => {
    try {
      const pairs = document.cookie.split('; ').filter((one) => one.startsWith(name + '='));
      // Python puts quotes around a value with a slash or an equals sign in it.
      return pairs.map((pair) => pair.slice(name.length + 1).replace(/^"(.*)"$/, '$1'));
    } catch (error) {
      return []; // storage is blocked
    }
  };
  const cookie = (name) => values(name)[0] || '';
  let domain; // of our cookies, where a host does not keep its own
  const write = (name, value, seconds) => {
    const put = (text, age, on) => {
      const where = (on ? '; Domain=' + on : '') + (location.protocol === 'https:' ? '; Secure' : '');
      document.cookie = `${name}=${text}; Path=/; Max-Age=${age}; SameSite=Lax${where}`;
    };
    try {
      if (domain) {
        put('', 0); // of a time before the domain was set: it would be sent beside the new one
        put(value, seconds, domain);
      }
      // A browser that refuses the domain keeps what it gets without.
      if (!domain || (seconds && !values(name).includes(value))) put(value, seconds);
    } catch (error) {
      // Storage is blocked: the server goes on without an answer, which is a no.
    }
  };
  // A no, wherever it stands, is a no.
  const objected = () => values(OBJECTION).some((value) => /^denied(\.|$)/.test(value));

  api.adapt = (ask, { mirrored, live, set } = {}) => {
    if (api.consent) return undefined; // the site has another tool, or the file stands on the page twice
    let config = {};
    try {
      config = JSON.parse(document.querySelector('script#metapixel-config').textContent) || {};
    } catch (error) {
      // No island: the core does nothing either.
    }
    ({ domain } = config);
    const names = config.tool || {};
    const suffix = config.mirror ? '.' + config.mirror : ''; // of this tool, with these names
    const watchers = [];
    let spoken; // what the tool said last
    let early; // what it said while nobody looked at the page
    let overruled; // the visitor has said no elsewhere since
    let ours; // the objection was written by this page
    let kept; // the browser took the mirror
    let told;

    const object = () => {
      ours = true;
      write(OBJECTION, 'denied', 180 * 86400);
    };
    const tool = () => {
      try {
        return ask(names, cookie);
      } catch (error) {
        return 'unknown';
      }
    };
    const refused = () => mirrored && cookie(MIRROR) === 'denied' + suffix;
    const read = () => {
      const answer = tool();
      // A yes that this page only remembers does not outweigh a no that another page was told.
      const remembered = answer === 'granted' && spoken === 'granted' && mirrored;
      if (remembered && kept && !cookie(MIRROR)) return 'unknown'; // another page's tool asks again
      if (answer === 'granted') return objected() || (remembered && refused()) ? 'denied' : 'granted';
      return answer === 'denied' ? 'denied' : 'unknown';
    };

    const mirror = (answer) => {
      const state = answer === 'granted' && objected() ? 'denied' : answer;
      if (state === 'granted' || state === 'denied') write(MIRROR, state + suffix, 86400);
      else if (cookie(MIRROR)) write(MIRROR, '', 0);
      kept = cookie(MIRROR);
    };

    const refresh = (now) => {
      const answer = tool();
      if (document.prerendering) {
        early = answer; // nobody looks at the page yet
        return;
      }
      const anew = now === true || (answer !== spoken && !(answer === 'granted' && early === answer && refused()));
      // The tool says no itself, or yes after a no: what the visitor told us beside it is settled.
      const no = answer === 'denied' && (anew || ours); // not one that is only remembered
      const yes = answer === 'granted' && (spoken === 'denied' || (now === true && overruled));
      if ((no || yes) && objected()) write(OBJECTION, '', 0);
      spoken = answer || spoken;
      early = undefined;
      if (mirrored && answer && anew) mirror(answer);
      overruled = answer === 'granted' && refused() && (overruled || !objected());
      const state = read();
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
    const heard = (now) => {
      refresh(now);
      setTimeout(refresh, 500); // some tools tell first and write down afterwards
    };

    let last;
    const choose = async (choice) => {
      last = choice;
      try {
        if (choice === 'withdrawn') {
          object();
          const body = JSON.stringify({ choice });
          const answer = await fetch(config.consent, { method: 'POST', body, mode: 'same-origin', keepalive: true });
          if (!answer.ok) return false;
        }
        const yes = last === 'granted'; // perhaps said while a no was on its way
        if (last === choice && (yes || tool() !== 'denied')) set(yes, names);
        if (yes && objected()) {
          write(OBJECTION, '', 0); // said to us, and to the tool
          if (objected() && api.cookies) api.cookies.clear(OBJECTION); // of a time when it stood elsewhere
        }
        heard();
        return !yes || last === choice;
      } catch (error) {
        return false;
      }
    };

    api.consent = { read, refuse: object, watch: (callback) => watchers.push(callback), ...(set && { choose }) };
    refresh();
    // Another tab may have answered; a page may return from the back/forward cache with an old answer.
    ['visibilitychange', 'prerenderingchange'].forEach((name) => document.addEventListener(name, () => refresh()));
    ['load', 'pageshow', 'pagehide'].forEach((name) => window.addEventListener(name, () => refresh()));
    document.addEventListener('metapixel:consent', () => heard(live)); // the site's own word that something changed
    return { config, heard };
  };
})();
