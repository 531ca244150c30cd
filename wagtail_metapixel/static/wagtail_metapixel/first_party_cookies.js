/*!
 * wagtail-metapixel: the first-party cookies _fbp (this browser) and _fbc (the click on an advertisement).
 *
 * metapixel.cookies.ensure() -> {fbp, fbc, domain}: called by metapixel.js once there is consent, before Meta's
 *   script is loaded and before each post. fbp and fbc are null where there is none; domain is null where the
 *   cookies are host-only.
 * metapixel.cookies.forget(): deletes both.
 * metapixel.cookies.clear(name): deletes a cookie wherever it stands: on this host, and on all its parent domains.
 *
 * Nothing is read or written before ensure() is called. Format: fb.<labels of the domain - 1>.<ms>.<payload>.
 * With "cookies": false in the config island ensure() only reads: making them is left to Meta's script.
 * With "domain" there, that one is taken, if the browser takes it.
 */
(() => {
  'use strict';
  const api = (window.metapixel = window.metapixel || {});
  if (api.cookies) return; // the file stands on the page twice

  const DAYS_90 = 90 * 24 * 60 * 60;
  // Strict enough to keep junk from Meta, wide enough for what Meta's own tools write: up to 19 digits in _fbp, and
  // a fifth part of 2 to 8 characters that names the tool.
  const VALID = {
    _fbp: /^fb\.\d\.\d{13}\.\d{1,19}(\.[\w-]{2,8})?$/,
    _fbc: /^fb\.\d\.\d{13}\.[\w-]{1,500}(\.[\w-]{2,8})?$/,
  };
  const CLICK_ID = /^[\w-]{1,500}$/;
  // A click id that is only remembered may be older than one stored by another tab.
  const VISIT_MS = 30 * 60 * 1000;

  let domain; // undefined until the browser was asked

  const quietly = (work, otherwise) => {
    try {
      return work();
    } catch (error) {
      return otherwise; // storage blocked, an odd URL, an API that is missing
    }
  };

  const island = () =>
    quietly(() => JSON.parse(document.querySelector('script#metapixel-config').textContent), null) || {};

  const all = () => quietly(() => document.cookie.split('; '), []);
  const values = (name) => all().filter((pair) => pair.startsWith(name + '=')).map((pair) => pair.slice(name.length + 1));
  // Two cookies of one name (host-only and on the domain) are possible: the first valid one counts.
  const valid = (name) => values(name).find((value) => VALID[name].test(value)) || null;

  const write = (name, value, maxAge, on) =>
    quietly(() => {
      const where = on ? '; Domain=' + on : '';
      const secure = location.protocol === 'https:' ? '; Secure' : '';
      document.cookie = `${name}=${value}; Path=/; Max-Age=${maxAge}; SameSite=Lax${where}${secure}`;
    });

  // "shop.example.co.uk" -> ["uk", "co.uk", "example.co.uk", ...]; none for an address or a bare name.
  const suffixes = () => {
    const host = location.hostname;
    const labels = host.split('.');
    if (labels.length < 2 || /^[\d.]+$/.test(host)) return [];
    return labels.map((_, at) => labels.slice(at).join('.')).reverse();
  };

  // The browser knows the public suffixes ("co.uk") and refuses them: the shortest domain that keeps a cookie is ours.
  const sticks = (candidate) => {
    const probe = 'metapixel_probe';
    write(probe, '1', 10, candidate);
    const stuck = values(probe).length > 0;
    write(probe, '', 0, candidate);
    return stuck;
  };
  const ownDomain = () => {
    if (domain === undefined) domain = [island().domain, ...suffixes()].find((on) => on && sticks(on)) || null;
    return domain;
  };
  const index = () => {
    const labels = (ownDomain() || (suffixes().length ? location.hostname : '')).split('.');
    return Math.min(labels.length - 1, 9);
  };

  const forget = (name) => [null, ...suffixes()].forEach((on) => write(name, '', 0, on));

  const store = (name, payload) => {
    if (values(name).length) forget(name); // a malformed one would stay in front of ours
    write(name, `fb.${index()}.${Date.now()}.${payload}`, DAYS_90, ownDomain());
    return valid(name);
  };

  const random = () => {
    const numbers = quietly(() => Array.from(crypto.getRandomValues(new Uint32Array(2))), null) ||
      [Math.random() * 2 ** 32, Math.random() * 2 ** 32].map(Math.floor);
    return String(10 ** 9 + numbers[0]) + String(numbers[1] % 10 ** 8).padStart(8, '0'); // 18 digits
  };

  const clickIdOf = (url) =>
    quietly(() => {
      const { origin, searchParams } = new URL(url);
      const id = searchParams.get('fbclid'); // the first, where it is repeated
      return origin === location.origin && CLICK_ID.test(id || '') ? id : null;
    }, null);

  // How a banner answered on page three still knows the click that led to page one, although nothing was stored:
  // the browser lists the pages of this origin that led here.
  const remembered = () => {
    const entries = quietly(() => navigation.entries().map((entry) => entry.url), []);
    return [document.referrer, ...entries.reverse()].map(clickIdOf).find(Boolean);
  };

  const fbc = () => {
    const present = valid('_fbc');
    const [, , time, stored] = (present || '').split('.');
    const here = clickIdOf(location.href);
    const recent = present && Date.now() - time < VISIT_MS;
    const id = here || (recent ? null : remembered());
    return id && id !== stored ? store('_fbc', id) : present;
  };

  // The answer to a post from before may bring them back.
  let gone = false;
  const sweep = () => gone && ['_fbp', '_fbc'].forEach(forget);

  api.cookies = {
    ensure: () => {
      gone = false;
      return island().cookies === false
        ? { fbp: valid('_fbp'), fbc: valid('_fbc'), domain: null }
        : {
          fbp: valid('_fbp') || store('_fbp', random()),
          fbc: fbc(),
          // The browser is asked with cookies: not before somebody wants to know.
          get domain() { return ownDomain(); },
        };
    },
    forget: () => {
      gone = true;
      sweep();
      [1, 3, 10, 30].forEach((seconds) => setTimeout(sweep, seconds * 1000));
    },
    clear: forget,
  };
})();
