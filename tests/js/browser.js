// A browser small enough to read: what the static files of the package touch, and nothing else.
'use strict';
const fs = require('node:fs');
const path = require('node:path');
const vm = require('node:vm');

const STATIC = path.join(__dirname, '..', '..', 'wagtail_metapixel', 'static', 'wagtail_metapixel');
const PUBLIC_SUFFIXES = ['com', 'uk', 'co.uk', 'org'];
const PIXEL = '1234567890123456';
const CONFIG = {
  pixels: [{ id: PIXEL, events: null }],
  collect: '/metapixel/collect/',
  echo: '/metapixel/echo/',
  echoes: 'metapixel_e_',
  ticket: '/metapixel/ticket/',
  consent: '/metapixel/consent/',
  provider: 'not_required',
  script: 'https://connect.facebook.net/en_US/fbevents.js',
  page_view: true,
};

const source = (name) => fs.readFileSync(path.join(STATIC, name), 'utf8');

// What came out of the page belongs to another realm; tests compare plain data of this one.
const plain = (value) => JSON.parse(JSON.stringify(value));

// Lets every promise that can go on do so.
const settle = async () => {
  for (let round = 0; round < 10; round += 1) await new Promise((resolve) => setImmediate(resolve));
};

const base64url = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');

class Listeners {
  constructor() {
    this.byName = {};
  }
  addEventListener(name, work, options = {}) {
    const listeners = (this.byName[name] = this.byName[name] || []);
    const { once, capture = options === true } = options;
    const alone = (event) => {
      listeners.splice(listeners.indexOf(one), 1);
      work(event);
    };
    const one = { capture, work: once ? alone : work };
    listeners.push(one);
  }
  // "stopped": a handler of the page's own, further in, has stopped the event on its way up.
  dispatch(name, event = {}) {
    [...(this.byName[name] || [])].forEach(({ capture, work }) => (capture || !event.stopped) && work(event));
  }
}

class Element {
  constructor(tag, attributes = {}, textContent = '') {
    Object.assign(this, { tag, attributes: { ...attributes }, textContent, parent: null });
  }
  get localName() {
    return this.tag;
  }
  hasAttribute(name) {
    return name in this.attributes;
  }
  getAttribute(name) {
    return name in this.attributes ? this.attributes[name] : null;
  }
  setAttribute(name, value) {
    this.attributes[name] = String(value);
  }
  matches(selector) {
    const [, tag, id, attribute] = selector.match(/^(\w+)?(?:#([\w-]+))?(?:\[([\w-]+)\])?$/);
    return (!tag || tag === this.tag) && (!id || id === this.attributes.id) &&
      (!attribute || attribute in this.attributes);
  }
  closest(selector) {
    for (let element = this; element; element = element.parent) if (element.matches(selector)) return element;
    return null;
  }
}

class CookieJar {
  constructor(location) {
    Object.assign(this, { location, cookies: [], blocked: false, writes: [] });
  }
  get text() {
    if (this.blocked) throw new Error('SecurityError: storage is blocked');
    return this.cookies.map(({ name, value }) => `${name}=${value}`).join('; ');
  }
  set text(line) {
    if (this.blocked) throw new Error('SecurityError: storage is blocked');
    this.writes.push(line);
    const [pair, ...rest] = line.split('; ');
    const [name, ...value] = pair.split('=');
    const attributes = Object.fromEntries(rest.map((one) => [...one.toLowerCase().split('='), true].slice(0, 2)));
    const host = this.location.hostname;
    const domain = attributes.domain || null;
    const address = /^[\d.]+$/.test(host);
    const within = domain === host || host.endsWith('.' + domain);
    if (domain && (address ? domain !== host : !within || PUBLIC_SUFFIXES.includes(domain))) return;
    if (attributes.secure && this.location.protocol !== 'https:') return;
    this.cookies = this.cookies.filter((cookie) => cookie.name !== name || cookie.domain !== domain);
    if (attributes['max-age'] !== '0') this.cookies.push({ name, value: value.join('='), domain, attributes });
  }
  get(name) {
    const found = this.cookies.find((cookie) => cookie.name === name);
    return found ? found.value : null;
  }
}

/**
 * One page in one browser tab. Options: url, referrer, cookies ("a=b; c=d"), config (null for no island), islands
 * (a list of {event | ticket | text, signature}), history (URLs of navigation.entries()), navigator, window,
 * scripts (the files the page loads), withoutMeta (meta_script.js is not one of them), early (what the next script of
 * the page does with window.metapixel, before the first task of its own has run).
 */
class Page {
  constructor(options = {}) {
    const url = new URL(options.url || 'https://www.example.com/product/');
    const { href, origin, protocol, hostname, pathname, search } = url;
    this.location = { href, origin, protocol, hostname, pathname, search };
    this.jar = new CookieJar(this.location);
    (options.cookies || '').split('; ').filter(Boolean).forEach((cookie) => (this.jar.text = cookie));
    this.jar.writes.length = 0;
    this.elements = [];
    this.scripts = []; // the script elements that our files have put into <head>
    this.posts = [];
    this.beacons = [];
    this.infos = [];
    this.timers = [];
    this.now = 1795322685020;
    this.answers = { ...options.answers }; // URL -> {status, json} or a function (body, request, page) that returns it
    this.options = options;
    if (options.config !== null) this.add('script', { id: 'metapixel-config' }, JSON.stringify({ ...CONFIG, ...options.config }));
    (options.islands || []).forEach((island) => this.island(island));
    this.window = this.makeWindow(options);
    vm.createContext(this.window);
    this.withTasks(() => {
      (options.scripts || ['first_party_cookies.js', 'page_swaps.js', 'metapixel.js']).forEach((name) => this.run(name));
      if (options.early) options.early(this.window.metapixel, this);
    });
  }

  makeWindow(options) {
    const page = this;
    this.root = new Element('html');
    this.documentListeners = new Listeners();
    this.windowListeners = new Listeners();
    const document = {
      referrer: options.referrer || '',
      documentElement: this.root,
      hidden: false,
      prerendering: Boolean(options.prerendering),
      head: { append: (script) => page.scripts.push(script) },
      get cookie() {
        return page.jar.text;
      },
      set cookie(line) {
        page.jar.text = line;
      },
      querySelector: (selector) => page.elements.find((element) => element.matches(selector)) || null,
      querySelectorAll: (selector) => page.elements.filter((element) => element.matches(selector)),
      createElement: (tag) => options.createElement ? options.createElement(tag) : new Element(tag),
      addEventListener: (...words) => page.documentListeners.addEventListener(...words),
    };
    this.document = document;
    const window = {
      document,
      location: this.location,
      navigator: {
        sendBeacon: (url, body) => {
          page.beacons.push({ url, body: JSON.parse(body) });
          return true;
        },
        ...options.navigator,
      },
      navigation: options.history && { entries: () => options.history.map((url) => ({ url })) },
      history: {
        state: null,
        pushState(state, unused, url) {
          this.state = state;
          if (url) page.moveTo(url);
        },
        replaceState(state, unused, url) {
          this.pushState(state, unused, url);
        },
      },
      console: { info: (...words) => page.infos.push(words.join(' ')) },
      fetch: (url, request) => page.fetch(url, request),
      // A delay waits for pass(); none is a task of its own, which settle() waits for.
      setTimeout: (work, delay, ...words) => {
        if (delay) page.timers.push({ at: page.now + delay, work: () => work(...words) });
        else if (page.tasks) page.tasks.push(() => work(...words));
        else setImmediate(work, ...words);
      },
      addEventListener: (...words) => page.windowListeners.addEventListener(...words),
      Date: class extends Date {
        static now() {
          return page.now;
        }
      },
      crypto: globalThis.crypto,
      AbortController,
      TextEncoder,
      Element,
      TextDecoder,
      URL,
      atob,
      ...options.window,
    };
    window.window = window;
    return window;
  }

  // The core brings the companion that every page has; withoutMeta leaves it out.
  run(name) {
    if (name === 'metapixel.js' && !this.options.withoutMeta) this.run('meta_script.js');
    this.withTasks(() => vm.runInContext(source(name), this.window, { filename: name }));
  }

  // What scripts ask for without a delay follows them at once.
  withTasks(work) {
    if (this.tasks) return work();
    this.tasks = [];
    work();
    const { tasks } = this;
    this.tasks = null;
    tasks.forEach((task) => task());
  }

  add(tag, attributes, text) {
    const element = new Element(tag, attributes, text);
    this.elements.push(element);
    return element;
  }

  island({ event, ticket, text, signature = 'SIGNATURE', tag = 'script' }) {
    if (ticket) return this.add(tag, { 'data-metapixel-ticket': '' }, JSON.stringify(ticket));
    return this.add(tag, { 'data-metapixel-event': signature }, text === undefined ? JSON.stringify(event) : text);
  }

  async fetch(url, { body, ...request }) {
    const data = JSON.parse(body);
    this.posts.push({ url, body: data, request });
    let answer = this.answers[url];
    if (typeof answer === 'function') answer = await answer(data, request, this);
    if (request.signal?.aborted) throw new DOMException('called back', 'AbortError');
    if (answer instanceof Error) throw answer;
    const { status = answer && 'json' in answer ? 200 : 204, json } = answer || {};
    return { status, ok: status < 300, json: async () => json };
  }

  postsTo(url) {
    return this.posts.filter((post) => post.url === url).map((post) => post.body);
  }

  // What fbq was asked to do.
  get calls() {
    return this.window.fbq ? Array.from(this.window.fbq.queue, (call) => plain(Array.from(call))) : [];
  }
  get fired() {
    return this.calls.filter(([verb]) => verb.startsWith('track'));
  }
  get firedNames() {
    return this.fired.map((call) => call[2]);
  }

  // Meta's script takes the queue over; what it is told stays on our list.
  async metaLoads() {
    await settle();
    const { fbq } = this.window;
    if (fbq) fbq.callMethod = (...words) => fbq.queue.push(words);
    this.scripts[0].onload();
    await settle();
  }

  async pass(milliseconds) {
    await settle();
    this.now += milliseconds;
    const due = this.timers.filter(({ at }) => at <= this.now);
    this.timers = this.timers.filter(({ at }) => at > this.now);
    due.forEach(({ work }) => work());
    await settle();
  }

  async tell(name, event, target = this.documentListeners) {
    target.dispatch(name, event);
    await settle();
  }

  async leave() {
    this.document.hidden = true;
    await this.tell('visibilitychange');
    await this.tell('pagehide', {}, this.windowListeners);
  }

  async comeBack() {
    this.document.hidden = false;
    await this.tell('pageshow', { persisted: true }, this.windowListeners);
  }

  moveTo(url) {
    const { href, pathname, search } = new URL(url, this.location.href);
    Object.assign(this.location, { href, pathname, search });
  }

  // "path" are the element and its ancestors, where that matters.
  async click(element, { name = 'click', path = [element], ...more } = {}) {
    const event = { target: element, prevented: false, preventDefault: () => (event.prevented = true), ...more };
    Object.assign(event, { composedPath: () => [...path, this.root, this.document, this.window], timeStamp: this.now });
    await this.tell(name, event);
    return event;
  }
}

// A consent tool of somebody else, as docs/browser.md asks for it.
const tool = (state) => {
  const watchers = [];
  return {
    read: () => state,
    watch: (callback) => watchers.push(callback),
    say(answer) {
      state = answer;
      watchers.forEach((callback) => callback(answer));
    },
  };
};

module.exports = { CONFIG, PIXEL, Page, STATIC, base64url, plain, settle, source, tool };
