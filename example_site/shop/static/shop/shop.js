// Small conveniences. The shop works without them.
(() => {
  "use strict";
  const root = document.documentElement;
  const announcer = document.getElementById("announcer");

  // A page that comes back by the Back button shows the cart of the time it was left.
  window.addEventListener("pageshow", (event) => {
    const badge = document.getElementById("cart-badge");
    if (event.persisted && badge && window.htmx) {
      window.htmx.ajax("GET", "/cart/badge/", { target: badge, swap: "outerHTML" });
    }
  });

  // The consent banner disappears when it is answered; say so to those who cannot see it.
  const said = { granted: "Thank you. Measuring is allowed.", denied: "Thank you. Nothing is measured." };
  let answer = root.dataset.metapixelConsent;
  new MutationObserver(() => {
    const now = root.dataset.metapixelConsent;
    if (answer !== undefined && now !== answer && said[now]) {
      announcer.textContent = said[now];
    }
    answer = now;
  }).observe(root, { attributes: true, attributeFilter: ["data-metapixel-consent"] });

  // htmx leaves the page as it is when the server does not answer; the form then goes the old way.
  document.addEventListener("htmx:sendError", (event) => {
    const form = event.target.closest("form");
    if (form) {
      form.submit();
    }
  });
})();
