/*!
 * wagtail-metapixel: the consent tool of this package in the browser. The cookie "metapixel_consent" holds the
 * choice: "granted.<proof>" or "denied", set by the server, or "denied.untold", set here until the server has heard of
 * a withdrawal.
 *
 * - <html data-metapixel-consent="unknown|granted|denied"> lets CSS show or hide a banner; elements with the
 *   attribute data-metapixel-consent-state are given the same value.
 * - Elements with data-metapixel-consent="grant|deny|withdraw" are the buttons, also those added later.
 * - metapixel.consent = {read(), watch(callback), choose(choice)} is what metapixel.js talks to.
 */
(() => {
  'use strict';
  const api = (window.metapixel = window.metapixel || {});
  if (api.consent) return; // the file stands on the page twice, or the site has another tool

  const BUTTONS = new Map([
    ['grant', { verb: 'grant', choice: 'granted' }],
    ['deny', { verb: 'deny', choice: 'denied' }],
    ['withdraw', { verb: 'revoke', choice: 'withdrawn' }],
  ]);
  const HALF_A_YEAR = 180 * 86400;
  const watchers = [];
  let answered = 'unknown'; // the choice the server took, in a browser that keeps no cookie of it
  let shown;
  let asked; // the choice on its way
  let clicks = 0;
  let last = Promise.resolve();
  let request; // what is on its way to the server

  const cookies = () => {
    try {
      return document.cookie;
    } catch (error) {
      return ''; // storage is blocked
    }
  };
  // A no, wherever it stands, is a no: a host may have a cookie of its own beside that of the domain.
  const has = (value) => RegExp('(?:^|; )metapixel_consent=' + value + '(?:;|$)').test(cookies());
  const stored = () => ['denied', 'granted'].find((word) => has(word + '(?:[.][^;]*)?'));
  const island = () => {
    try {
      return JSON.parse(document.querySelector('script#metapixel-config').textContent) || {};
    } catch (error) {
      return {};
    }
  };
  const write = (value, seconds, on) => {
    const where = (on ? '; Domain=' + on : '') + (location.protocol === 'https:' ? '; Secure' : '');
    try {
      document.cookie = `metapixel_consent=${value}; Path=/; SameSite=Lax; Max-Age=${seconds}${where}`;
    } catch (error) {
      // Storage is blocked: it holds for this page.
    }
  };
  const read = () => {
    const answer = stored() || answered;
    // The answer to a yes that was taken back meanwhile.
    return answer === 'granted' && asked && asked !== 'granted' ? 'denied' : answer;
  };

  // After a yes a no counts at once, and on the next page even if the server never hears of it.
  const told = () => has('denied') && !has('granted.*'); // perhaps by another tab
  const refuse = (choice) => {
    const granted = (stored() || answered) === 'granted';
    if (choice === 'granted' || told() || !(granted || choice === 'withdrawn')) return;
    const { domain } = island();
    if (domain) {
      write('', 0); // a yes of this host alone would be sent beside the no
      write('denied.untold', HALF_A_YEAR, domain);
    }
    if (!domain || stored() !== 'denied') write('denied.untold', HALF_A_YEAR); // no domain, or one that the browser refuses
    answered = stored() ? 'unknown' : 'denied';
  };

  const show = (state) => {
    document.documentElement.setAttribute('data-metapixel-consent', state);
    document.querySelectorAll('[data-metapixel-consent-state]').forEach((element) =>
      element.setAttribute('data-metapixel-consent-state', state));
  };

  const refresh = () => {
    const state = read();
    show(state);
    if (state === shown) return;
    shown = state;
    watchers.forEach((callback) => {
      try {
        callback(state);
      } catch (error) {
        // The others hear of it all the same.
      }
    });
  };

  // Of a time when the cookies stood elsewhere: a no there would outvote the yes that the server has just taken.
  const unsay = () => {
    const yes = (cookies().match(/(?:^|; )metapixel_consent=(granted[^;]*)/) || [])[1];
    if (!yes || !has('denied[^;]*')) return;
    const { domain } = island();
    if (api.cookies) api.cookies.clear('metapixel_consent');
    else write('', 0);
    write(yes, HALF_A_YEAR, domain);
    if (stored() !== 'granted') write(yes, HALF_A_YEAR);
  };

  const tell = async (choice, mine, signal) => {
    if (choice === 'withdrawn' && told()) return true;
    const { consent } = island();
    if (!consent) return false; // the site has not included our URLs
    try {
      const body = JSON.stringify({ choice });
      const keepalive = choice !== 'granted'; // a yes that outlives its page cannot be called back
      const answer = await fetch(consent, { method: 'POST', body, mode: 'same-origin', keepalive, signal });
      if (!answer.ok) return false; // the visitor's choice is not known to the server: the banner stays
    } catch (error) {
      return false;
    }
    if (mine !== clicks) return true; // the visitor has changed their mind
    if (choice === 'granted') unsay();
    answered = stored() ? 'unknown' : choice === 'granted' ? 'granted' : 'denied';
    return true;
  };

  // The last click counts: what is on its way is called back, or its answer would overwrite that of this one, on
  // the next page too.
  const choose = (choice) => {
    if (choice === 'denied' && has('denied.untold')) choice = 'withdrawn'; // not heard of yet
    if (asked !== choice) {
      asked = choice;
      const mine = (clicks += 1);
      if (request) request.abort();
      request = new AbortController();
      refuse(choice);
      refresh();
      last = tell(choice, mine, request.signal).then((heard) => {
        if (mine === clicks) {
          asked = undefined;
          refresh();
        }
        return heard;
      });
    }
    return last;
  };

  const onClick = (event) => {
    const [target] = event.composedPath ? event.composedPath() : [event.target];
    const element = target.closest && target.closest('[data-metapixel-consent]');
    const button = element && BUTTONS.get(element.getAttribute('data-metapixel-consent'));
    if (!button) return;
    event.preventDefault(); // a link or a submit button stays on the page
    const { verb, choice } = button;
    // Through the core, which stops events before the server is told; it may be missing or blocked.
    if (api[verb]) api[verb]();
    else choose(choice);
  };

  // Somebody who was in the admin wonders why nothing happens; see README.md, "Try it".
  if (/(?:^|; )metapixel_off(?:=|;|$)/.test(cookies())) {
    console.info('metapixel: this browser was in the admin, so nothing is reported; use a private window');
  }

  api.consent = { read, choose, watch: (callback) => watchers.push(callback) };
  shown = read();
  show(shown);
  document.addEventListener('click', onClick, true); // the page's own handlers may stop it on its way
  // Another tab may have answered; a page may return from the back/forward cache with an old answer.
  document.addEventListener('visibilitychange', refresh);
  document.addEventListener('prerenderingchange', refresh);
  window.addEventListener('pageshow', refresh);
})();
