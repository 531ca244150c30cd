/*
 * The sandbox's stand-in for Meta's fbevents.js: written for wagtail-metapixel from what that
 * script is documented, or was seen, to do. It keeps the protocol of fbq() and of /tr/, and
 * nothing else: no automatic events, no automatic matching, no hashing.
 *
 * Different on purpose: match keys that must be hashed and are not are held back with a warning;
 * and while consent is revoked no cookie is written.
 */
(function () {
  "use strict";

  var VERSION = "2.9.0-sandbox";
  var LONGEST_URL = 2000; // characters; a longer hit is posted
  var COOKIE_SECONDS = 7776000; // 90 days
  var PLAIN_KEYS = ["external_id"];

  var script = document.currentScript;
  var origin = script ? new URL(script.src, location.href).origin : "https://connect.facebook.net";
  var atMeta = origin === "https://connect.facebook.net";
  var endpoint = (atMeta ? "https://www.facebook.com" : origin) + "/tr/";

  var fbq = window.fbq;
  if (!fbq) {
    fbq = window.fbq = function () {
      fbq.callMethod ? fbq.callMethod.apply(fbq, arguments) : fbq.queue.push(arguments);
    };
    fbq.push = fbq;
    fbq.queue = [];
    window._fbq = window._fbq || fbq;
  }
  if (fbq.sandbox) return; // the script tag stands on the page twice
  fbq.sandbox = true;

  var pixels = {}; // id -> {userData, agent, pageViews, startedAt}
  var order = []; // ids in the order of their init
  var revoked = false;
  var held = []; // hits that wait for consent
  var processing = null; // [options, country, state]
  var hits = 0;
  var beacons = []; // an Image that is collected before it has loaded may never be sent

  function warn(text) {
    if (window.console) console.warn("[Meta sandbox] " + text);
  }

  // Cookies

  function allCookies() {
    try {
      return document.cookie;
    } catch (error) {
      return ""; // storage is blocked
    }
  }

  function storeCookie(text) {
    try {
      document.cookie = text;
    } catch (error) {
      // Storage is blocked: the hit goes without it.
    }
  }

  function readCookie(name) {
    var match = allCookies().match(new RegExp("(?:^|; )" + name + "=([^;]*)"));
    if (!match) return "";
    try {
      return decodeURIComponent(match[1]);
    } catch (error) {
      return "";
    }
  }

  function writeCookie(name, payload) {
    // The shortest domain on which a cookie sticks, as Meta's script finds it.
    var labels = location.hostname.split(".");
    for (var index = 0; index < labels.length; index += 1) {
      var domain = labels.slice(-1 - index).join(".");
      var value = ["fb", index, Date.now(), payload].join(".");
      var cookie = name + "=" + encodeURIComponent(value) + "; Max-Age=" + COOKIE_SECONDS;
      storeCookie(cookie + "; Path=/; SameSite=Lax; Domain=" + domain);
      if (readCookie(name) === value) return value;
      if (index === labels.length - 1) {
        storeCookie(cookie + "; Path=/; SameSite=Lax");
        return readCookie(name);
      }
    }
    return "";
  }

  function randomDigits() {
    var parts = new Uint32Array(2);
    crypto.getRandomValues(parts);
    return String(parts[0]) + String(parts[1] % 100000000);
  }

  function browserId() {
    var value = readCookie("_fbp");
    return /^fb\.\d\.\d+\.\d+(\.[\w-]+)?$/.test(value) ? value : writeCookie("_fbp", randomDigits());
  }

  function clickId() {
    var value = readCookie("_fbc");
    var known = /^fb\.\d\.\d+\./.test(value) ? value.split(".")[3] : "";
    var clicked = new URLSearchParams(location.search).get("fbclid");
    return clicked && clicked !== known ? writeCookie("_fbc", clicked) : value;
  }

  // Hits

  function add(fields, name, value) {
    if (value === undefined || value === null || value === "") return;
    fields.push([name, typeof value === "object" ? JSON.stringify(value) : String(value)]);
  }

  function fieldsOf(id, name, params, eventId) {
    var fields = [];
    var pixel = pixels[id];
    add(fields, "id", id);
    add(fields, "ev", name);
    add(fields, "dl", location.href);
    add(fields, "rl", document.referrer);
    add(fields, "if", window.top !== window);
    add(fields, "ts", Date.now());
    Object.keys(params || {}).forEach(function (key) {
      add(fields, "cd[" + key + "]", params[key]);
    });
    Object.keys(pixel.userData).forEach(function (key) {
      add(fields, "ud[" + key + "]", pixel.userData[key]);
    });
    add(fields, "sw", screen.width);
    add(fields, "sh", screen.height);
    add(fields, "v", VERSION);
    add(fields, "r", "stable");
    add(fields, "a", pixel.agent);
    add(fields, "ec", hits);
    add(fields, "it", pixel.startedAt);
    add(fields, "eid", eventId);
    return fields;
  }

  function send(fields) {
    hits += 1;
    add(fields, "fbp", browserId());
    add(fields, "fbc", clickId());
    var url = endpoint + "?" + new URLSearchParams(fields.concat([["rqm", "GET"]])).toString();
    if (url.length <= LONGEST_URL) {
      var image = new Image();
      beacons.push(image);
      image.onload = image.onerror = function () {
        beacons.splice(beacons.indexOf(image), 1);
      };
      image.src = url;
    } else {
      post(fields.concat([["rqm", "POST"]]));
    }
  }

  function post(fields) {
    var form = new FormData();
    fields.forEach(function (field) {
      form.append(field[0], field[1]);
    });
    if (navigator.sendBeacon && navigator.sendBeacon(endpoint, form)) return;
    fetch(endpoint, { method: "POST", mode: "no-cors", keepalive: true, body: form }).catch(
      function () {}
    );
  }

  function fire(id, name, params, options) {
    if (!pixels[id]) return warn("track for a pixel without init: " + id);
    if (name === "PageView" && seenBefore(pixels[id])) return undefined;
    var fields = fieldsOf(id, name, params, options && options.eventID);
    addProcessing(fields);
    if (revoked) held.push(fields);
    else send(fields);
    return undefined;
  }

  function seenBefore(pixel) {
    // A second PageView of one address says nothing new, unless the page insists.
    var seen = pixel.pageView === location.href && !fbq.allowDuplicatePageViews;
    pixel.pageView = location.href;
    return seen;
  }

  function addProcessing(fields) {
    if (!processing) return;
    fields.push(["dpo", (processing[0] || []).join(",")]);
    fields.push(["dpoco", String(processing[1] || 0)], ["dpost", String(processing[2] || 0)]);
  }

  // Commands

  function hashedOnly(userData) {
    var kept = {};
    Object.keys(userData || {}).forEach(function (key) {
      var value = userData[key];
      if (value === undefined || value === null || value === "") return;
      if (PLAIN_KEYS.indexOf(key) >= 0 || /^[0-9a-f]{64}$/.test(value)) kept[key] = value;
      else warn("match key " + key + " is not a SHA-256 hash; the sandbox does not send it");
    });
    return kept;
  }

  var commands = {
    init: function (id, userData, options) {
      id = String(id);
      if (!/^\d{5,20}$/.test(id)) return warn("init without a valid pixel id");
      if (pixels[id]) return warn("Duplicate Pixel ID: " + id);
      pixels[id] = {
        userData: hashedOnly(userData),
        agent: (options && options.agent) || "",
        pageView: "",
        startedAt: Date.now()
      };
      order.push(id);
      var config = document.createElement("script");
      config.async = true;
      config.src = origin + "/signals/config/" + id + "?v=" + VERSION + "&r=stable";
      document.head.appendChild(config);
      return undefined;
    },
    set: function (name, value, id) {
      if (name === "agent") {
        (id ? [String(id)] : order).forEach(function (pixelId) {
          if (pixels[pixelId]) pixels[pixelId].agent = String(value);
        });
      }
    },
    consent: function (choice) {
      revoked = choice === "revoke";
      if (!revoked) held.splice(0).forEach(send);
    },
    dataProcessingOptions: function (options, country, state) {
      processing = [options, country, state];
    },
    track: function (name, params, options) {
      order.forEach(function (id) {
        fire(id, name, params, options);
      });
    },
    trackSingle: function (id, name, params, options) {
      fire(String(id), name, params, options);
    }
  };
  commands.trackCustom = commands.track;
  commands.trackSingleCustom = commands.trackSingle;

  fbq.callMethod = function (name) {
    if (commands[name]) commands[name].apply(null, Array.prototype.slice.call(arguments, 1));
    else warn("unknown command: " + name);
  };
  fbq.getState = function () {
    return {
      pixels: order.map(function (id) {
        return { id: id, userData: pixels[id].userData };
      })
    };
  };

  // A page that changes its address by itself has shown another page.

  function addressChanged() {
    if (!fbq.disablePushState) commands.track("PageView");
  }

  function watch(name) {
    var original = history[name];
    history[name] = function () {
      var before = location.href;
      var result = original.apply(this, arguments);
      if (location.href !== before) addressChanged();
      return result;
    };
  }
  watch("pushState");
  watch("replaceState");
  window.addEventListener("popstate", addressChanged);

  (fbq.queue || []).splice(0).forEach(function (call) {
    fbq.callMethod.apply(fbq, call);
  });
})();
