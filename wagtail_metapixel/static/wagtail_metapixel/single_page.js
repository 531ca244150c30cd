/*!
 * wagtail-metapixel: pages whose own script changes the address, through history.pushState() or the Navigation API.
 * A new path is a new page view. htmx and Turbo are the business of page_swaps.js. Its place is before metapixel.js.
 */
(() => {
  'use strict';
  const api = (window.metapixel = window.metapixel || {});
  if (api.singlePage) return; // the file stands on the page twice
  api.singlePage = true;

  // Routers write the address first and the page afterwards, and redirect at once: only where it ends counts.
  const SETTLED_MS = 50;
  let path = location.pathname;
  let waiting = false;

  const quietly = (work) => {
    try {
      return work();
    } catch (error) {
      return undefined; // no core, or an API that is missing; the page must not notice
    }
  };

  const look = () =>
    quietly(() => {
      waiting = false;
      if (location.pathname === path) return;
      path = location.pathname;
      api.scan();
    });

  const changed = () =>
    quietly(() => {
      const { htmx, turbo } = history.state || {};
      if (htmx || turbo) {
        path = location.pathname; // page_swaps.js tells it, when the content is there
      } else if (!waiting) {
        waiting = true;
        setTimeout(look, SETTLED_MS);
      }
    });

  // Whoever wrapped them before is called by us, whoever wraps them later calls us.
  const wrap = (name) => {
    const original = history[name];
    history[name] = function () {
      const result = original.apply(this, arguments);
      changed();
      return result;
    };
  };
  ['pushState', 'replaceState'].forEach((name) => quietly(() => wrap(name)));

  addEventListener('popstate', changed);
  // Routers on the Navigation API call neither of the two above. Where it exists, it hears of those as well.
  quietly(() => navigation.addEventListener('currententrychange', changed));
  addEventListener('pagehide', look);
})();
