/*! wagtail-metapixel: declare, hold, echo, post. Explained in docs/browser.md. */
(() => {
  'use strict';
  const api = (window.metapixel = window.metapixel || {});
  if (api.flush) return; // the file stands on the page twice

  const STANDARD = (
    'PageView AddPaymentInfo AddToCart AddToWishlist CompleteRegistration Contact CustomizeProduct Donate FindLocation ' +
    'InitiateCheckout Lead Purchase Schedule Search StartTrial SubmitApplication Subscribe ViewContent'
  ).split(' ');

  let config; // undefined: switched off
  let state = 'unknown'; // the consent last acted upon
  let said; // what the page said through grant(), deny() or revoke()
  let pixel = 'unknown'; // Meta's script: loaded | failed
  let ours; // fbq is our own stub
  let started; // pixels that send from the browser, once Meta's script was asked for
  let path; // of the view
  const told = new Set(); // texts of the declarations told for this path; '' is PageView
  const fired = new Set(); // event ids given to fbq
  const held = []; // views waiting for consent
  const outbox = []; // bodies waiting to be posted
  const echoes = []; // action events waiting for consent

  // Nothing may throw into the page or leave a rejected promise.
  const safe = (work) => (...args) => {
    try {
      const result = work(...args);
      return result && result.catch ? result.catch(() => {}) : result;
    } catch (error) {}
  };

  const post = safe(async (url, data) => {
    const body = JSON.stringify(data);
    const answer = await fetch(url, { method: 'POST', body, mode: 'same-origin', keepalive: true });
    return answer.status === 200 ? answer.json() : answer.ok;
  });

  const cookies = () => safe(() => document.cookie)() || ''; // throws where storage is blocked

  // For each post: Meta's script may have changed them.
  const visitor = () => (api.cookies ? api.cookies.ensure() : {});

  // Not randomUUID: plain http has none.
  const uuid = () => {
    const random = new Uint8Array(30).map(() => Math.random() * 256);
    if (window.crypto) crypto.getRandomValues(random);
    let at = 0;
    return 'xxxxxxxx-xxxx-4xxx-8xxx-xxxxxxxxxxxx'.replace(/x/g, () => (random[at++] & 15).toString(16));
  };

  const consent = () => {
    const answer = said || (api.consent ? api.consent.read() : 'unknown');
    return config.provider === 'not_required' && answer !== 'denied' ? 'granted' : answer;
  };

  // ---- Declare the events of the page being shown. A new path is a new view.
  const declare = () => {
    if (path !== location.pathname) told.clear();
    path = location.pathname;
    const [calls, events, tickets] = [[], [], []];
    const add = (name, params, event) => {
      event.event_id = uuid();
      calls.push([name, params, event.event_id]);
      events.push(event);
    };
    // Only script elements: an attribute in somebody's rich text declares nothing.
    const each = (attribute, work) =>
      document.querySelectorAll('script[' + attribute + ']').forEach(safe((island) => {
        const text = island.textContent;
        if (told.has(text)) return;
        told.add(text);
        work(JSON.parse(text), text, island.getAttribute(attribute));
      }));
    if (config.page_view && !told.has('')) add('PageView', {}, { event_name: 'PageView' });
    told.add('');
    each('data-metapixel-event', (data, declaration, signature) =>
      add(data.event_name, data.custom_data, { declaration, signature }));
    each('data-metapixel-ticket', (ticket) => tickets.push(ticket));
    held.push({ calls, tickets, body: { url: location.href, referrer: document.referrer, events } });
  };

  // ---- Hold: the one place that acts upon consent
  const scan = safe(() => {
    if (!config) return;
    const before = state;
    state = consent();
    if (state !== 'denied') {
      declare();
      if (state === 'granted') release(before);
      return;
    }
    take();
    if (held.length) told.clear(); // a later grant on this page tells them anew
    held.length = outbox.length = echoes.length = 0;
    // Withdrawn in the consent tool, or a withdrawal the page did not live to finish.
    if (before === 'granted' || (before === 'unknown' && /(^|; )_fb[cp]=/.test(cookies()))) revoke();
  });

  const release = (before) => {
    if (!started) load();
    else if (ours && before === 'denied') fbq('consent', 'grant');
    held.splice(0).forEach(({ calls, tickets, body }) => {
      calls.forEach((call) => fire(...call));
      // The server takes 20 at a time.
      while (body.events.length) outbox.push({ ...body, events: body.events.splice(0, 20) });
      tickets.forEach((ticket) => ask(ticket, [2, 3, 5, 10])); // at 2, 5, 10 and 20 s
    });
    echo(echoes.splice(0));
    if (pixel !== 'unknown') send();
    else setTimeout(send, 2000);
  };

  // ---- Meta's script
  const load = safe(() => {
    visitor(); // before Meta's script makes cookies of its own
    started = config.pixels.filter(({ events }) => !events || events.length);
    if (!started.length) return settle('failed');
    if (typeof window.fbq !== 'function') stub();
    else {
      console.info('metapixel: another Meta pixel is on this page, no second script is loaded');
      if (fbq.callMethod) settle('loaded');
    }
    const known = Object.values((fbq.getState && fbq.getState().pixels) || []).map((other) => other.id);
    Array.from(fbq.queue || []).forEach(([verb, id]) => verb === 'init' && known.push(id));
    started.forEach(({ id }) => {
      if (known.map(String).includes(id)) return;
      fbq('set', 'autoConfig', false, id); // or Meta's script adds events that have no id
      fbq('init', id);
    });
  });

  const stub = () => {
    const fbq = (window.fbq = function () {
      fbq.callMethod ? fbq.callMethod.apply(fbq, arguments) : fbq.queue.push(arguments);
    });
    Object.assign(fbq, { push: fbq, loaded: true, version: '2.0', queue: [], disablePushState: true });
    window._fbq = window._fbq || fbq;
    ours = true;
    const script = document.createElement('script');
    script.onload = () => settle('loaded');
    script.onerror = () => settle('failed');
    const rules = { createScriptURL: (url) => url };
    const trusted = safe(() => trustedTypes.createPolicy('metapixel', rules).createScriptURL(config.script));
    try {
      script.src = trusted() || config.script; // no Trusted Types, or no policy
      document.head.append(script);
    } catch (error) {
      settle('failed');
    }
  };

  const settle = (status) => {
    pixel = status;
    send();
  };

  const fire = safe((name, params, id, only) => {
    if (fired.has(id)) return;
    fired.add(id);
    const verb = STANDARD.includes(name) ? 'trackSingle' : 'trackSingleCustom';
    started.forEach((one) => {
      const wanted = only ? only.includes(one.id) : !one.events || one.events.includes(name);
      if (wanted) fbq(verb, one.id, name, params || {}, { eventID: id });
    });
  });

  // ---- Post
  const send = safe((hidden) => {
    outbox.splice(0).forEach((body) => {
      Object.assign(body, visitor(), { pixel });
      if (hidden !== true || !beacon(body)) post(config.collect, body);
    });
  });

  const beacon = safe((body) => navigator.sendBeacon(config.collect, JSON.stringify(body)));

  // ---- Echo: the browser's copy of what the server recorded
  const decode = safe((text) => {
    const bytes = Uint8Array.from(atob(text.replace(/-/g, '+').replace(/_/g, '/')), (c) => c.charCodeAt(0));
    echoes.push(...[].concat(JSON.parse(new TextDecoder().decode(bytes))));
  });

  const take = () =>
    cookies().split('; ').forEach((pair) => {
      const [name, value] = pair.split('=');
      if (!name.startsWith('metapixel_e_')) return;
      document.cookie = name + '=; Path=/; Max-Age=0';
      decode(value);
    });

  const echo = safe(async (events, fetched) => {
    if (state !== 'granted') return;
    const ids = [];
    events.forEach((event) => {
      if (!event || typeof event.i !== 'string') return;
      if (!event.n) ids.push(event.i); // did not fit into a cookie
      else if (Date.now() / 1000 - event.t < 86400) fire(event.n, event.p, event.i, event.x || []);
    });
    if (ids.length && !fetched) echo((await post(config.echo, { ids })).events, true);
  });

  const flush = safe((response) => {
    if (!config || new URL(response.url, location.href).origin !== location.origin) return;
    decode(response.headers.get('Metapixel-Echo'));
    if (response.redirected) take(); // the header was lost
    scan();
  });

  const ask = safe(async (ticket, [wait, ...later]) => {
    if (state !== 'granted') return;
    const { fbp, fbc } = visitor();
    const answer = await post(config.ticket, { ticket, fbp, fbc });
    if (answer.event) echo([answer.event]);
    else if (answer.wait && wait) setTimeout(() => ask(ticket, later), wait * 1000);
  });

  // ---- The page's own words
  const say = (answer) => {
    said = answer;
    scan();
  };
  const choose = (choice, otherwise) => {
    const tool = api.consent;
    return tool && tool.choose ? tool.choose(choice) : otherwise();
  };
  const decide = (answer) => choose(answer, () => say(answer));

  const revoke = safe(async () => {
    if (ours) fbq('consent', 'revoke');
    state = 'denied';
    say(state);
    // The server first: it finds the visitor's waiting events by these cookies.
    const heard = await choose('withdrawn', () => post(config.consent, { choice: 'withdrawn' }));
    if (heard && api.cookies) api.cookies.forget();
  });

  const start = safe(() => {
    const found = JSON.parse(document.querySelector('script#metapixel-config').textContent);
    if (!found.provider || !found.collect || !found.pixels.length || /(^|; )metapixel_off(=|;|$)/.test(cookies())) return;
    if (navigator.globalPrivacyControl && found.gpc !== false) return;
    config = found;
    const look = () => {
      take();
      scan();
    };
    addEventListener('pagehide', () => send(true));
    document.addEventListener('visibilitychange', () => document.hidden && send(true));
    addEventListener('pageshow', (event) => {
      if (!event.persisted) return;
      told.clear(); // back from the back/forward cache: a new view
      look();
    });
    if (api.consent) api.consent.watch(() => say(''));
    look();
  });

  Object.assign(api, {
    grant: safe(() => decide('granted')),
    deny: safe(() => (config && consent() === 'granted' ? revoke() : decide('denied'))),
    revoke,
    flush,
    scan,
  });
  if (document.prerendering) document.addEventListener('prerenderingchange', start, { once: true });
  else start();
})();
