/*!
 * wagtail-metapixel: django-cookie-consent. Needs consent_watch.js before it. Its cookie is HttpOnly, so our own
 * endpoint is asked: POST, answered with {"choice": "granted" | "denied" | "unknown"} and no-store.
 *
 * The package has no event. Its buttons are known by their usual classes; a site with others dispatches
 * "metapixel:consent" on the document.
 */
(() => {
  'use strict';
  const { adapt } = window.metapixel || {};
  const BUTTONS = '.cookie-consent__accept, .cookie-consent__decline';
  let said;
  let asked = 0;

  const tool = adapt && adapt(() => said);
  if (!tool) return;

  const look = async () => {
    const { choice: url } = tool.config;
    if (document.prerendering || !url) return;
    const turn = (asked += 1);
    let choice;
    try {
      const answer = await fetch(url, { method: 'POST', body: '{}', mode: 'same-origin', cache: 'no-store' });
      if (answer.status === 200) choice = (await answer.json()).choice;
    } catch (error) {
      // Offline or blocked: unknown.
    }
    if (turn !== asked) return; // asked again meanwhile
    said = ['granted', 'denied'].includes(choice) ? choice : 'unknown';
    tool.heard();
  };

  // The package tells its server by two requests after the click.
  const lookSoon = () => [300, 1000, 3000].forEach((delay) => setTimeout(look, delay));

  // What was said to another page meanwhile, only the server knows.
  const lookAgain = () => {
    said = 'unknown';
    tool.heard();
    look();
  };

  look();
  document.addEventListener('prerenderingchange', look);
  document.addEventListener('visibilitychange', () => document.hidden || lookAgain());
  window.addEventListener('pageshow', ({ persisted }) => persisted && lookAgain());
  document.addEventListener('metapixel:consent', () => {
    look();
    lookSoon();
  });
  document.addEventListener('click', ({ target }) => target.closest && target.closest(BUTTONS) && lookSoon());
})();
