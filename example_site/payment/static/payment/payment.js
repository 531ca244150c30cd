// Pretend to work for a moment, the way banks do. Without JavaScript the form is sent at once.
(() => {
  "use strict";
  const form = document.querySelector("[data-pay]");
  if (!form) return;
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const button = form.querySelector("button");
    if (button.disabled) return;
    button.disabled = true;
    form.classList.add("is-working");
    form.querySelector(".working").textContent = "Checking with your bank…";
    setTimeout(() => form.submit(), 1200);
  });
  // Coming back by the Back button must not find a button that is still disabled.
  window.addEventListener("pageshow", (event) => {
    if (event.persisted) window.location.reload();
  });
})();
