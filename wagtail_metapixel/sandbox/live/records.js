/* Draws one event, or one refused request. Everything received is untrusted: it only ever becomes
   text, never markup. */

const CHANNEL = { browser: "Browser", server: "Server" };
const STATUS = { browser: "Browser only", server: "Server only", deduplicated: "Deduplicated" };
const MATCH_KEYS = {
  em: "e-mail", ph: "phone", fn: "first name", ln: "last name", db: "date of birth", ge: "gender",
  ct: "city", st: "state", zp: "postcode", country: "country", external_id: "external id",
  client_ip_address: "IP address", client_user_agent: "user agent", fbc: "click id",
  fbp: "browser id"
};

/** An element with attributes and children; text children become text nodes. */
export function h(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== ""));
  return element;
}

function icon(name) {
  const paths = {
    warning: "M10 3 2.5 16.5h15L10 3Zm0 5v4m0 2.2v.3",
    advice: "M10 3a7 7 0 1 0 0 14 7 7 0 0 0 0-14Zm0 6v4.5m0-7.3v.3",
    chevron: "m7.5 5 5 5-5 5",
    check: "m4.5 10.5 3.5 3.5 7.5-8"
  };
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 20 20");
  svg.setAttribute("class", `icon ${name}`);
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", paths[name]);
  svg.append(path);
  return svg;
}

const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });
const full = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

function time(seconds) {
  const date = new Date(seconds * 1000);
  return h("time", { datetime: date.toISOString(), title: full.format(date) }, clock.format(date));
}

function duration(seconds) {
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 120) return `${seconds.toFixed(1)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  return `${Math.round(seconds / 3600)} h`;
}

function first(record, channel) {
  return record.copies.find((copy) => copy.channel === channel);
}

// The line

/** The parts of a line that is closed: put them into a summary element. */
export function line(record) {
  const warnings = record.diagnostics.filter((found) => found.level === "warning").length;
  return [
    icon("chevron"),
    h("span", { class: "what" },
      h("strong", { class: "name" }, record.event_name),
      h("span", { class: "about" }, about(record))),
    h("span", { class: "from" }, channelBadge(record, "browser"), channelBadge(record, "server")),
    h("span", { class: "state" },
      h("span", { class: "status", "data-status": record.status },
        record.status === "deduplicated" ? icon("check") : null, STATUS[record.status]),
      warnings ? h("span", { class: "warnings" }, icon("warning"), String(warnings),
        h("span", { class: "hidden" }, warnings === 1 ? " warning" : " warnings")) : null),
    time(record.received)
  ];
}

function channelBadge(record, channel) {
  const count = record.counts[channel];
  if (!count) return null;
  return h("span", { class: "badge", "data-channel": channel },
    CHANNEL[channel], count > 1 ? h("b", { title: `${count} copies` }, `×${count}`) : null);
}

/** What was it worth, or about, and for whom: a few words beside the name. */
function about(record) {
  const data = record.copies[record.kept_copy].custom_data;
  const parts = record.copies.map((copy) => copy.test_event_code).filter(Boolean).slice(0, 1);
  if (data.value != null) parts.push(money(data.value, data.currency));
  const words = data.content_name || data.search_string || data.order_id || "";
  if (typeof words === "string" && words) parts.push(words);
  if (data.value == null && !words) parts.push(pathOf(record));
  return parts.filter(Boolean).join(" · ");
}

function money(value, currency) {
  try {
    return new Intl.NumberFormat(undefined, { style: "currency", currency }).format(value);
  } catch {
    return `${value} ${currency || ""}`.trim();
  }
}

function pathOf(record) {
  const source = record.copies[record.kept_copy].event_source_url;
  try {
    return new URL(source).pathname;
  } catch {
    return source;
  }
}

/** The parts of the line of a refused request. */
export function refusedLine(rejection) {
  const names = rejection.event_names.length ? rejection.event_names.join(", ") : "Unreadable request";
  const code = [rejection.error.code, rejection.error.error_subcode].filter(Boolean).join(" / ");
  return [
    icon("chevron"),
    h("span", { class: "what" },
      h("strong", { class: "name" }, names),
      h("span", { class: "about" }, rejection.error.error_user_title || rejection.error.message)),
    h("span", { class: "from" },
      h("span", { class: "badge", "data-channel": rejection.channel }, CHANNEL[rejection.channel])),
    h("span", { class: "state" },
      h("span", { class: "status", "data-status": "rejected" }, code ? `Refused ${code}` : "Ignored")),
    time(rejection.received)
  ];
}

// The details

/** What a line shows when it is opened. */
export function body(record) {
  return [
    verdict(record),
    notes(record),
    differences(record),
    h("div", { class: "copies" }, record.copies.map((copy, index) => copyCard(record, copy, index))),
    identity(record)
  ];
}

function verdict(record) {
  const lines = [h("p", {}, ...reason(record))];
  if (record.lacking.length) {
    lines.push(h("p", {}, `The ${record.kept} copy lacks what the other one has: `,
      keyList(record.lacking)));
  }
  return h("div", { class: "verdict", "data-status": record.status }, lines);
}

function reason(record) {
  const browser = first(record, "browser");
  const server = first(record, "server");
  if (!browser) return ["Only the server reported this event. Meta counts the server’s copy."];
  if (!server) return ["Only the browser reported this event. Meta counts the browser’s copy."];
  const gap = duration(Math.abs(browser.received - server.received));
  const kept = h("strong", {}, `Meta counts it once and keeps the ${record.kept} copy`);
  if (browser.received <= server.received) return [kept, `, which came first (${gap} earlier).`];
  if (record.kept === "browser") {
    return [kept, `: it came ${gap} after the server’s, and within five minutes the browser’s is preferred.`];
  }
  return [kept, `: the browser’s came ${gap} later, and after five minutes the first one stays.`];
}

function keyList(keys) {
  return h("span", { class: "keys" }, keys.map((key) => h("code", { title: MATCH_KEYS[key] || null }, key)));
}

function notes(record) {
  const found = record.diagnostics.filter(({ code }) => code !== "copies_differ"); // has a table
  return found.length ? h("ul", { class: "notes" }, found.map(note)) : null;
}

function note(found) {
  return h("li", { "data-level": found.level }, icon(found.level),
    h("span", {}, h("strong", {}, found.title),
      found.channel ? h("span", { class: "quiet" }, ` (${found.channel})`) : null,
      ` ${found.text}`));
}

function differences(record) {
  if (!record.differences.length) return null;
  return h("div", { class: "scroll" }, h("table", { class: "differences" },
    h("caption", {}, "The copies differ"),
    h("thead", {}, h("tr", {}, ["Field", "Browser", "Server"].map((name) => h("th", { scope: "col" }, name)))),
    h("tbody", {}, record.differences.map((found) => h("tr", {},
      h("th", { scope: "row" }, found.field), h("td", {}, text(found.browser)), h("td", {}, text(found.server)))))));
}

function text(value) {
  if (value === null || value === undefined) return "not sent";
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

function copyCard(record, copy, index) {
  const kept = index === record.kept_copy;
  return h("section", { class: "copy", "data-channel": copy.channel, "data-kept": kept },
    h("h3", {},
      h("span", { class: "badge", "data-channel": copy.channel }, CHANNEL[copy.channel]),
      kept ? h("span", { class: "kept" }, icon("check"), "Kept") : h("span", { class: "quiet" }, "Discarded"),
      time(copy.received)),
    h("h4", {}, `Match keys (${copy.match_keys.length})`),
    copy.match_keys.length ? matchKeys(copy) : h("p", { class: "quiet" }, "None"),
    h("h4", {}, "Parameters"),
    Object.keys(copy.custom_data).length ? facts(Object.entries(copy.custom_data)) : h("p", { class: "quiet" }, "None"),
    h("h4", {}, "Circumstances"),
    facts(circumstances(copy)));
}

function matchKeys(copy) {
  const shortened = (value) => {
    const shown = Array.isArray(value) ? value.join(", ") : String(value);
    return /^[0-9a-f]{64}/.test(shown) ? `${shown.slice(0, 12)}…` : shown;
  };
  return facts(copy.match_keys.map((key) => [key, shortened(copy.user_data[key]), MATCH_KEYS[key]]));
}

function facts(entries) {
  return h("dl", { class: "facts" }, entries.map(([name, value, meaning]) =>
    h("div", {}, h("dt", { title: meaning || null }, name), h("dd", {}, text(value)))));
}

function circumstances(copy) {
  const lag = copy.event_time === null ? null : copy.received - copy.event_time;
  return [
    ["page", copy.event_source_url],
    ["referrer", copy.referrer_url],
    ["event_time", copy.event_time === null ? "" : `${full.format(new Date(copy.event_time * 1000))}${lag > 2 ? ` (${duration(lag)} before it came)` : ""}`],
    ["action_source", copy.channel === "server" ? copy.action_source : ""],
    ["sent by", { image: "image", post: "POST", noscript: "noscript image", graph: "Conversions API" }[copy.method]],
    ["agent", copy.agent],
    ["test_event_code", copy.test_event_code],
    ["data processing", copy.data_processing_options.join(", ")]
  ].filter(([, value]) => value);
}

function identity(record) {
  const how = {
    event_id: "the same event_id", order_id: "the same order", fallback: "the same fbp or external_id"
  }[record.matched_by];
  return h("div", { class: "identity" }, facts([
    ["event_id", record.event_id || "none"],
    ["pixel", record.pixel],
    ...(how ? [["joined by", how]] : []),
    ["copies", `${record.counts.browser} from the browser, ${record.counts.server} from the server`]
  ]));
}

/** Says so if it was not Meta's rules that refused. */
function whose(rejection) {
  if (rejection.simulated) return "A fault that you switched on. ";
  return rejection.strict ? "Only strict mode refuses this. " : "";
}

/** What the line of a refused request shows when it is opened. */
export function refusedBody(rejection) {
  const error = rejection.error;
  return [
    h("div", { class: "verdict", "data-status": "rejected" },
      h("p", {}, h("strong", {}, whose(rejection)),
        error.error_user_msg || error.message),
      rejection.count > 1 ? h("p", {}, `One such event refuses the whole request: none of its ${rejection.count} events was taken.`) : null),
    facts([
      ["HTTP status", String(rejection.status)],
      ...(error.code ? [["code", [error.code, error.error_subcode].filter(Boolean).join(" / ")]] : []),
      ["message", error.message],
      ["pixel", rejection.pixel || "none"],
      ["events", String(rejection.count)],
      ["fbtrace_id", error.fbtrace_id || ""]
    ].filter(([, value]) => value))
  ];
}
