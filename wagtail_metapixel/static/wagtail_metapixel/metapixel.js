/*! wagtail-metapixel: declare, hold, echo, post. Explained in docs/browser.md. */
(() => {
  'use strict';
  const api = (window.metapixel = window.metapixel || {});
  if (api.flush) return; // a second copy

  const UNSIGNED = ['PageView', 'Contact', 'FindLocation', 'CustomizeProduct'];

  let island;
  let config; // none: switched off
  let state = 'unknown'; // the consent last acted upon
  let said; // grant(), deny() or revoke()
  let pixel = 'unknown'; // Meta's script: loaded | failed | shared
  let started;
  let revoked; // so was fbq
  let path;
  let seen; // element -> its text
  const told = new Set(); // for this path; '' is PageView
  const fired = new Set();
  const held = []; // views, without consent
  const outbox = new Map(); // address -> body
  const echoes = []; // the same of action events
  const listeners = new Set();

  // Nothing throws into the page.
  const safe = (work) => (...args) => {
    try {
      const result = work(...args);
      return result?.catch ? result.catch(() => {}) : result;
    } catch (error) {}
  };

  const post = safe(async (name, data) => {
    if (!island[name]) return;
    const body = JSON.stringify(data);
    // Once: it may have arrived.
    const answer = await fetch(island[name], { method: 'POST', body, mode: 'same-origin', keepalive: true });
    return answer.status === 200 ? answer.json() : answer.ok;
  });

  const notify = (name, detail) =>
    listeners.forEach((one) => one.name === name && one.work(JSON.parse(JSON.stringify(detail))));

  const cookies = () => safe(() => document.cookie)() || ''; // storage is blocked

  const has = (name) => RegExp('(^|; )' + name).test(cookies());
  const hasMeta = () => has('_fb[cp]=');
  const isStaff = () => has('metapixel_off(=|;|$)');

  // Meta's script may change them.
  const visitor = () => api.cookies?.ensure() || {};

  // randomUUID: not on plain http.
  const uuid = () => {
    const random = new Uint8Array(36).map(() => Math.random() * 256);
    window.crypto?.getRandomValues(random);
    return 'xxxxxxxx-xxxx-4xxx-8xxx-xxxxxxxxxxxx'.replace(/x/g, (x, at) => (random[at] & 15).toString(16));
  };

  const whenShown = (work) =>
    document.prerendering ? document.addEventListener('prerenderingchange', work, { once: true }) : work();

  const consent = () => {
    const read = api.consent?.read();
    if (read === 'denied') return read;
    const answer = said || read || 'unknown';
    return answer !== 'denied' && island?.provider === 'not_required' ? 'granted' : answer;
  };

  // Another window may withdraw.
  const allowed = () => {
    if (state === 'granted' && consent() !== state) turn(() => {});
    return state === 'granted' && !isStaff();
  };

  // ---- Declare
  const forget = () => {
    told.clear();
    seen = new WeakMap();
  };

  const brief = (url) =>
    (url.length > 1024 ? url.replace(/\?.*/, '?' + (url.match(/\bfbclid=[\w-]+/) || '')) : url).slice(0, 1024);

  const view = (fill) => {
    const one = { events: [], tickets: [], url: brief(location.href), referrer: brief(document.referrer) };
    fill((name, params, event) => one.events.push([name, params, { ...event, event_id: uuid() }]), one.tickets);
    if (one.events.length + one.tickets.length && held.push(one) > 50) held.shift();
  };

  const declare = (add, tickets) => {
    if (path !== location.pathname) told.clear();
    path = location.pathname;
    const each = (attribute, work) =>
      document.querySelectorAll('script[' + attribute + ']').forEach(safe((one) => {
        const text = one.textContent;
        const old = told.has(text) || seen.get(one) === text;
        seen.set(one, text);
        if (old) return;
        told.add(text);
        work(JSON.parse(text), text, one.getAttribute(attribute));
      }));
    if (config.page_view && !told.has('')) add('PageView', {}, { event_name: 'PageView' });
    told.add('');
    each('data-metapixel-event', (data, declaration, signature) =>
      add(data.event_name, data.custom_data, { declaration, signature }));
    each('data-metapixel-ticket', (ticket) => tickets.push(ticket));
  };

  const clean = (text) => {
    const line = text.slice(0, 1000).replace(/(?:[^\P{C}\u200c\u200d]|\s)+/gu, ' ').normalize().trim();
    return [...line].slice(0, 100).join('').trim();
  };

  // ---- Hold: the one place that acts upon consent
  const turn = (fill) => {
    if (!config) return;
    const before = become(consent());
    if (state !== 'denied') {
      if (isStaff()) return;
      view(fill);
      return started ? release() : setTimeout(release); // its own task
    }
    take();
    if (held.length || outbox.size) forget();
    held.length = echoes.length = 0;
    outbox.clear();
    // Withdrawn in the tool, or on a page left.
    if (before === 'granted' || (before === 'unknown' && hasMeta())) revoke();
  };

  const become = (answer) => {
    const before = state;
    state = answer;
    if (answer !== before) notify('consent', answer);
    return before;
  };

  const scan = safe(() => turn(declare));

  const track = safe((name, params) => {
    const note = (what) => console.info(`metapixel: ${what} left out; track() it on the server`);
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

  const release = safe(() => {
    if (!allowed()) return;
    if (!started) load();
    else if (revoked) meta('consent', 'grant');
    revoked = false;
    while (state === 'granted' && held.length) { // callbacks may withdraw
      const { events, tickets, ...where } = held.shift();
      const key = JSON.stringify(where);
      const all = outbox.get(key)?.events || [];
      if (events.length) outbox.set(key, { ...where, events: all.concat(events.map(([, , event]) => event)) });
      events.forEach(([name, params, { event_id }]) => fire(name, params, event_id));
      tickets.forEach((ticket) => setTimeout(ask, 0, ticket, [2, 3, 5, 10]));
    }
    echo(echoes.splice(0));
    pixel === 'unknown' ? setTimeout(send, 2000) : send();
  });

  // ---- Meta's script
  const meta = safe((verb, ...words) => api.meta[verb](...words));

  const load = safe(() => {
    started = true;
    visitor();
    if (api.meta) api.meta.start(config, settle);
    else settle('failed');
  });

  const settle = (status) => {
    pixel = status;
    send();
  };

  const fire = safe((name, params = {}, id, only) => {
    if (state !== 'granted' || fired.has(id)) return;
    fired.add(id);
    meta('fire', name, params, id, only);
    notify('event', { event_name: name, event_id: id, params });
  });

  // ---- Post
  const send = safe((hidden) => {
    if (hidden) release();
    if (!allowed()) return;
    const bodies = [...outbox.values()];
    outbox.clear();
    bodies.forEach((body) => ship({ ...body, ...visitor(), pixel }, hidden));
  });

  const ship = (body, hidden) => {
    const { events } = body;
    const half = events.length >> 1;
    if (events.length <= 20 && new TextEncoder().encode(JSON.stringify(body)).length <= 8192) {
      if (!hidden || !beacon(body)) post('collect', body);
    } else if (half) [[0, half], [half]].forEach((range) => ship({ ...body, events: events.slice(...range) }, hidden));
  };

  const beacon = safe((body) => navigator.sendBeacon(config.collect, JSON.stringify(body)));

  // ---- Echo
  const decode = safe((text) => {
    const bytes = Uint8Array.from(atob(text.replace(/-/g, '+').replace(/_/g, '/')), (c) => c.charCodeAt(0));
    echoes.push(...[].concat(JSON.parse(new TextDecoder().decode(bytes))));
  });

  const take = () =>
    cookies().split('; ').forEach((pair) => {
      const [name, value] = pair.split('=');
      if (!name.startsWith(config.echoes)) return;
      ['', '; Domain=' + (config.domain || '')].forEach((on) => (document.cookie = name + '=; Path=/; Max-Age=0' + on));
      decode(value);
    });

  const echo = safe(async (events, fetched) => {
    if (!allowed()) return;
    const ids = [];
    events.forEach((event) => {
      if (!event || typeof event.i !== 'string') return;
      if (!event.n) ids.push(event.i);
      else if (Date.now() / 1000 - event.t < 86400) fire(event.n, event.p, event.i, event.x || []);
    });
    if (ids.length && !fetched) echo((await post('echo', { ids })).events, true);
  });

  const flush = safe((response) => {
    if (!config || new URL(response.url, location.href).origin !== location.origin) return;
    decode(response.headers.get('Metapixel-Echo'));
    if (response.redirected) take();
    scan();
  });

  const ask = safe(async (ticket, [wait, ...later]) => {
    if (!allowed()) return;
    const { fbp, fbc } = visitor();
    const answer = await post('ticket', { ticket, fbp, fbc });
    if (answer.event) echo([answer.event]);
    else if (answer.wait && wait) setTimeout(() => ask(ticket, later), wait * 1000);
  });

  // ---- API
  const say = (answer) => {
    said = answer;
    scan();
  };
  const choose = (choice, otherwise) => (api.consent?.choose ? api.consent.choose(choice) : otherwise());
  const decide = (answer) => choose(answer, () => say(answer));

  const withdraw = () => {
    api.consent?.refuse?.(); // for the next page
    return post('consent', { choice: 'withdrawn' });
  };

  const revoke = safe(async () => {
    meta('consent', 'revoke');
    revoked = true;
    become('denied');
    say(state);
    // The server finds waiting events by them.
    const heard = await choose('withdrawn', withdraw);
    if (heard && state === 'denied') api.cookies?.forget();
  });

  const on = (name, callback) => {
    const one = { name, work: safe(callback) };
    listeners.add(one);
    if (name === 'consent' && state !== 'unknown') one.work(state);
    return () => listeners.delete(one);
  };

  const start = safe(() => {
    island = JSON.parse(document.querySelector('script#metapixel-config').textContent);
    const { provider, collect, pixels, gpc } = island;
    if (!provider || !collect || !pixels.length) return;
    if (navigator.globalPrivacyControl && gpc !== false) return;
    config = island;
    const look = () => {
      forget();
      take();
      scan();
    };
    addEventListener('pagehide', send);
    document.addEventListener('visibilitychange', () => document.hidden && send(true));
    addEventListener('pageshow', (event) => event.persisted && look());
    api.consent?.watch(() => say(''));
    look();
  });

  Object.assign(api, {
    grant: safe(() => decide('granted')),
    deny: safe(() => (consent() === 'granted' || (!config && hasMeta()) ? revoke() : decide('denied'))),
    revoke,
    flush,
    scan,
    track,
    on,
  });
  whenShown(start);
})();
