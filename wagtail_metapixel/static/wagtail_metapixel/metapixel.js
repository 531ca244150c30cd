/*! wagtail-metapixel: declare, hold, echo, post. Explained in docs/browser.md. */
(() => {
  'use strict';
  const api = (window.metapixel = window.metapixel || {});
  if (api.flush) return; // the file stands on the page twice

  const UNSIGNED = ['PageView', 'Contact', 'FindLocation', 'CustomizeProduct']; // without value

  let config; // undefined: switched off
  let state = 'unknown'; // the consent last acted upon
  let said; // grant(), deny() or revoke()
  let pixel = 'unknown'; // Meta's script: loaded | failed
  let started;
  let path;
  let seen; // elements told, and their texts
  const told = new Set(); // texts told for this path; '' is PageView
  const fired = new Set();
  const held = []; // views waiting for consent
  const outbox = []; // bodies waiting to be posted
  const echoes = []; // action events waiting for consent
  const listeners = new Set();

  // Nothing may throw into the page or leave a rejected promise.
  const safe = (work) => (...args) => {
    try {
      const result = work(...args);
      return result?.catch ? result.catch(() => {}) : result;
    } catch (error) {}
  };

  const post = safe(async (url, data) => {
    const body = JSON.stringify(data);
    const answer = await fetch(url, { method: 'POST', body, mode: 'same-origin', keepalive: true });
    return answer.status === 200 ? answer.json() : answer.ok;
  });

  // A copy: what is still to be sent is not theirs to change.
  const notify = (name, detail) =>
    listeners.forEach((one) => one.name === name && one.work(JSON.parse(JSON.stringify(detail))));

  const cookies = () => safe(() => document.cookie)() || ''; // throws where storage is blocked

  // For each post: Meta's script may have changed them.
  const visitor = () => api.cookies?.ensure() || {};

  // Not randomUUID: plain http has none.
  const uuid = () => {
    const random = new Uint8Array(36).map(() => Math.random() * 256);
    window.crypto?.getRandomValues(random);
    return 'xxxxxxxx-xxxx-4xxx-8xxx-xxxxxxxxxxxx'.replace(/x/g, (x, at) => (random[at] & 15).toString(16));
  };

  const whenShown = (work) =>
    document.prerendering ? document.addEventListener('prerenderingchange', work, { once: true }) : work();

  const consent = () => {
    const answer = said || api.consent?.read() || 'unknown';
    return config.provider === 'not_required' && answer !== 'denied' ? 'granted' : answer;
  };

  // ---- Declare the events of the page being shown. A new path is a new view.
  const forget = () => {
    told.clear();
    seen = new WeakMap();
  };

  // The path and the click id.
  const brief = (url) =>
    (url.length > 1024 ? url.split('?')[0] + '?' + (url.match(/\bfbclid=[\w-]+/) || '') : url).slice(0, 1024);

  const view = (fill) => {
    const one = { events: [], tickets: [], url: brief(location.href), referrer: brief(document.referrer) };
    fill((name, params, event) => one.events.push([name, params, { ...event, event_id: uuid() }]), one.tickets);
    held.push(one);
  };

  const declare = (add, tickets) => {
    if (path !== location.pathname) told.clear();
    path = location.pathname;
    // Only script elements: an attribute in somebody's rich text declares nothing.
    const each = (attribute, work) =>
      document.querySelectorAll('script[' + attribute + ']').forEach(safe((island) => {
        const text = island.textContent;
        const old = told.has(text) || seen.get(island) === text;
        seen.set(island, text);
        if (old) return;
        told.add(text);
        work(JSON.parse(text), text, island.getAttribute(attribute));
      }));
    if (config.page_view && !told.has('')) add('PageView', {}, { event_name: 'PageView' });
    told.add('');
    each('data-metapixel-event', (data, declaration, signature) =>
      add(data.event_name, data.custom_data, { declaration, signature }));
    each('data-metapixel-ticket', (ticket) => tickets.push(ticket));
  };

  const clean = (text) => {
    const line = text.replace(/(?:[^\P{C}\u200c\u200d]|\s)+/gu, ' ').normalize().trim();
    return [...line].slice(0, 100).join('').trim();
  };

  // ---- Hold: the one place that acts upon consent
  const turn = (fill) => {
    if (!config) return;
    const before = become(consent());
    if (state !== 'denied') {
      view(fill);
      if (state === 'granted') release(before);
      return;
    }
    take();
    if (held.length) forget(); // a later grant on this page tells them anew
    held.length = outbox.length = echoes.length = 0;
    // Withdrawn in the tool, or on a page that did not live to finish it.
    if (before === 'granted' || (before === 'unknown' && /(^|; )_fb[cp]=/.test(cookies()))) revoke();
  };

  const become = (answer) => {
    const before = state;
    state = answer;
    if (answer !== before) notify('consent', answer);
    return before;
  };

  const scan = safe(() => turn(declare));

  const track = safe((name, params) => {
    const note = (what) => console.info(`metapixel: ${what} is left out; report it with track() on the server`);
    if (!UNSIGNED.includes(name)) return note(name);
    const texts = {};
    Object.entries(params || {}).forEach(([key, value]) => {
      const plain = /^content_(name|category)$/.test(key) && typeof value === 'string' && !value.includes('@');
      const text = plain && clean(value);
      if (text) texts[key] = text;
      else note(key);
    });
    whenShown(() => turn((add) => add(name, texts, { event_name: name, custom_data: texts })));
  });

  const release = (before) => {
    if (!started) load();
    else if (before === 'denied') meta('consent', 'grant');
    held.splice(0).forEach(({ events, tickets, ...where }) => {
      events.forEach(([name, params, { event_id }]) => fire(name, params, event_id));
      if (events.length) outbox.push({ ...where, events: events.map(([, , event]) => event) });
      tickets.forEach((ticket) => ask(ticket, [2, 3, 5, 10])); // at 2, 5, 10 and 20 s
    });
    echo(echoes.splice(0));
    if (pixel !== 'unknown') send();
    else setTimeout(send, 2000);
  };

  // ---- Meta's script
  const meta = safe((verb, ...words) => api.meta[verb](...words));

  const load = safe(() => {
    started = true;
    visitor(); // before Meta's script makes cookies of its own
    if (api.meta) api.meta.start(config, settle);
    else settle('failed');
  });

  const settle = (status) => {
    pixel = status;
    send();
  };

  const fire = safe((name, params, id, only) => {
    if (fired.has(id)) return;
    fired.add(id);
    meta('fire', name, params || {}, id, only);
    notify('event', { event_name: name, event_id: id, params: params || {} });
  });

  // ---- Post
  const send = safe((hidden) => outbox.splice(0).forEach((body) => ship({ ...body, ...visitor(), pixel }, hidden)));

  // The server takes 20 events and 8 kB at a time.
  const ship = (body, hidden) => {
    const { events } = body;
    const half = events.length >> 1;
    if (events.length <= 20 && new TextEncoder().encode(JSON.stringify(body)).length <= 8192) {
      if (hidden !== true || !beacon(body)) post(config.collect, body);
    } else if (half) [[0, half], [half]].forEach((range) => ship({ ...body, events: events.slice(...range) }, hidden));
  };

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
  const choose = (choice, otherwise) => (api.consent?.choose ? api.consent.choose(choice) : otherwise());
  const decide = (answer) => choose(answer, () => say(answer));

  const revoke = safe(async () => {
    meta('consent', 'revoke');
    become('denied');
    say(state);
    // The server first: it finds the visitor's waiting events by these cookies.
    const heard = await choose('withdrawn', () => post(config.consent, { choice: 'withdrawn' }));
    if (heard) api.cookies?.forget();
  });

  const on = (name, callback) => {
    const one = { name, work: safe(callback) };
    listeners.add(one);
    if (name === 'consent' && state !== 'unknown') one.work(state);
    return () => listeners.delete(one);
  };

  const start = safe(() => {
    const found = JSON.parse(document.querySelector('script#metapixel-config').textContent);
    if (!found.provider || !found.collect || !found.pixels.length || /(^|; )metapixel_off(=|;|$)/.test(cookies())) return;
    if (navigator.globalPrivacyControl && found.gpc !== false) return;
    config = found;
    const look = () => {
      forget(); // a return from the back/forward cache is a new view
      take();
      scan();
    };
    addEventListener('pagehide', () => send(true));
    document.addEventListener('visibilitychange', () => document.hidden && send(true));
    addEventListener('pageshow', (event) => event.persisted && look());
    api.consent?.watch(() => say(''));
    look();
  });

  Object.assign(api, {
    grant: safe(() => decide('granted')),
    deny: safe(() => (config && consent() === 'granted' ? revoke() : decide('denied'))),
    revoke,
    flush,
    scan,
    track,
    on,
  });
  whenShown(start);
})();
