/*!
 * wagtail-metapixel: pages that change without being loaded, by htmx (1.9, 2 and 4) or Turbo.
 * Tells the core about new content and about answers that carry an echo. Its place is before metapixel.js,
 * and a site that uses neither may leave it out.
 */
(() => {
  'use strict';
  const api = (window.metapixel = window.metapixel || {});
  if (api.swaps) return; // the file stands on the page twice
  api.swaps = true;

  const on = (names, work) =>
    names.forEach((name) =>
      document.addEventListener(name, (event) => {
        try {
          work(event);
        } catch (error) {
          // An htmx or Turbo that we do not know, or no core; the page must not notice.
        }
      })
    );

  const withoutHash = (url) => new URL(url, location.href).href.split('#')[0];

  // What metapixel.flush() reads of a Response, for the XMLHttpRequest of htmx 1.9 and 2.
  const asResponse = (xhr, pathInfo, verb) => {
    const sameOrigin = new URL(xhr.responseURL, location.href).origin === location.origin;
    const get = (name) => (sameOrigin ? xhr.getResponseHeader(name) : null);
    // The next page comes at once and fires what the cookies hold.
    const leaving = get('HX-Redirect') || get('HX-Refresh');
    // XMLHttpRequest does not tell that it was redirected, and a POST is often redirected to its own URL.
    const redirected = verb !== 'get' || withoutHash(pathInfo.finalRequestPath) !== withoutHash(xhr.responseURL);
    return { url: xhr.responseURL, headers: { get }, redirected: !leaving && Boolean(redirected || get('HX-Location')) };
  };

  on(['htmx:afterRequest'], ({ detail }) =>
    api.flush(asResponse(detail.xhr, detail.pathInfo, detail.requestConfig.verb)));
  on(['htmx:after:request'], ({ detail }) => {
    const { raw, headers } = detail.ctx.response;
    const leaving = headers.get('HX-Redirect') || headers.get('HX-Refresh');
    const redirected = !leaving && Boolean(raw.redirected || headers.get('HX-Location'));
    api.flush({ url: raw.url, headers, redirected });
  });
  on(['turbo:before-fetch-response'], ({ detail }) => {
    const { response } = detail.fetchResponse;
    // A preview from Turbo's cache declares what was so then; the page that replaces it says what is.
    if (!document.documentElement.hasAttribute('data-turbo-preview')) api.flush(response);
    else document.addEventListener('turbo:load', () => api.flush(response), { once: true });
  });

  on(
    ['htmx:afterSettle', 'htmx:after:settle', 'htmx:historyRestore', 'turbo:load', 'turbo:frame-load'],
    () => api.scan()
  );
})();
