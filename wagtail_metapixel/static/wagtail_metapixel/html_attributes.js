/*!
 * wagtail-metapixel: events from HTML attributes, for people who write no script.
 *
 * <a href="tel:+49301234567" data-metapixel-event="Contact" data-metapixel-params='{"content_name": "Hotline"}'>
 *
 * Links, buttons and all other elements tell their event when they are clicked, forms when they are submitted, those
 * that were added later as well. Names and parameters are those of metapixel.track().
 */
(() => {
  'use strict';
  const api = (window.metapixel = window.metapixel || {});
  if (api.attributes) return; // the file stands on the page twice
  api.attributes = true;

  const DOUBLE_CLICK_MS = 1000;
  const last = new WeakMap(); // element -> when it was counted

  // Not those of the element: in a form, a field of that name stands in front of them.
  const { hasAttribute, getAttribute } = Element.prototype;
  const { get: localName } = Object.getOwnPropertyDescriptor(Element.prototype, 'localName');
  const tag = (element) => localName.call(element);
  const attribute = (element, name) => getAttribute.call(element, name);
  const has = (one, name) => {
    try {
      return hasAttribute.call(one, name);
    } catch (error) {
      return false; // the document, the window, a shadow root
    }
  };

  // Through shadow roots as well, which event.target does not tell. A <script> is a signed declaration.
  const marked = (event) =>
    event.composedPath().find((one) => has(one, 'data-metapixel-event') && tag(one) !== 'script');

  const parameters = (element) => {
    const text = attribute(element, 'data-metapixel-params');
    try {
      const found = JSON.parse(text || '{}');
      if (found && typeof found === 'object' && !Array.isArray(found)) return found;
    } catch (error) {
      // Said below, as of JSON that is no object.
    }
    console.info('metapixel: data-metapixel-params is not a JSON object', element);
    return {};
  };

  const tell = (event, form) => {
    const element = marked(event);
    if (!element || (tag(element) === 'form') !== form) return;
    if (event.timeStamp - last.get(element) < DOUBLE_CLICK_MS) return;
    last.set(element, event.timeStamp);
    api.track(attribute(element, 'data-metapixel-event'), parameters(element));
  };

  // While it is captured: the page's own handlers may stop the event on its way up.
  const on = (name, work) =>
    document.addEventListener(
      name,
      (event) => {
        try {
          work(event);
        } catch (error) {
          // No core, or a browser that we do not know; the page must not notice.
        }
      },
      true
    );

  on('click', (event) => tell(event, false));
  // The middle button opens a link in another tab, and is no click.
  on('auxclick', (event) => event.button === 1 && marked(event)?.href && tell(event, false));
  on('submit', (event) => tell(event, true));
})();
