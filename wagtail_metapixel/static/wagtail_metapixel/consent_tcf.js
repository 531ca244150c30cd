/*!
 * wagtail-metapixel: any consent tool that speaks IAB TCF v2, by __tcfapi('addEventListener', 2, ...). Needs
 * consent_watch.js before it. Yes is: GDPR applies, a final answer, all purposes, and each of the two numbers that the
 * site has set (vendor of the Global Vendor List, provider of Google's additional consent).
 */
(() => {
  'use strict';
  const { adapt } = window.metapixel || {};
  const FINAL = ['tcloaded', 'useractioncomplete'];
  let said;
  let wait = 100;

  const judge = (data, { purposes, vendor, provider }) => {
    if (data.isServiceSpecific === false) return 'unknown'; // of the global scope, invalid since 2021
    if (data.gdprApplies !== true || !purposes.length || !(vendor || provider)) return 'unknown';
    const allowed = purposes.map((purpose) => data.purpose.consents[purpose]);
    if (vendor) {
      allowed.push(data.vendor.consents[vendor]);
      // The publisher may forbid a vendor a purpose (0), or to take it by consent (2).
      const { restrictions = {} } = data.publisher || {};
      purposes.forEach((purpose) => allowed.push([undefined, 1].includes((restrictions[purpose] || {})[vendor])));
    }
    if (provider) {
      const [, ids] = data.addtlConsent.match(/^[12]~([\d.]*)(?:~dv\.[\d.]*)?$/);
      allowed.push(ids.split('.').includes(String(provider)));
    }
    return allowed.every((one) => one === true) ? 'granted' : 'denied';
  };

  const tool = adapt && adapt(() => said, { mirrored: true });
  if (!tool) return;

  const hear = (data, success) => {
    if (success !== true || !data) return;
    const answered = FINAL.includes(data.eventStatus);
    try {
      if (data.gdprApplies === false) said = 'unknown'; // nobody is asked, nobody answers
      else if (answered) said = judge(data, tool.config.tool);
      // A dialogue that is opened again changes nothing until it is answered.
      else if (data.eventStatus === 'cmpuishown') said = said || 'unknown';
    } catch (error) {
      said = 'unknown'; // not the shape that the specification has
    }
    tool.heard(answered);
  };

  // A tool's stub stands before ours, but a tag manager may bring the tool later.
  const listen = () => {
    try {
      if (typeof window.__tcfapi === 'function') return void window.__tcfapi('addEventListener', 2, hear);
    } catch (error) {
      // Not ready: asked again below.
    }
    if (wait < 60000) setTimeout(listen, (wait *= 2));
  };
  listen();
})();
