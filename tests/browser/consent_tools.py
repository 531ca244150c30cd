"""Other people's consent tools, each as a stub of what its documentation promises to a page.

A stub is a script that runs before the page's own, and on each page anew. It keeps its answer as
the tool does, and has one function more, for tests: ``answerTool(true)`` or ``answerTool(false)``
is the visitor's click. Sources and dates: ``docs/consent.md``.
"""

from __future__ import annotations

from typing import NamedTuple

METAS_VENDOR = 4001
METAS_PROVIDER = 4002
STRANGERS_VENDOR = 4003
"""Made up: whether Meta has such numbers is not known."""

# Its categories are on from the start, as where Cookiebot does not ask; that is nobody's answer.
COOKIEBOT = """
(() => {
  const told = (marketing, method) => ({ necessary: true, preferences: false, statistics: false, marketing, method });
  const kept = decodeURIComponent((/CookieConsent=([^;]*)/.exec(document.cookie) || ["", ""])[1]);
  window.Cookiebot = kept
    ? { hasResponse: true, consent: told(kept.includes("marketing:true"), "explicit") }
    : { hasResponse: false, consent: told(true, "implied") };
  addEventListener("load", () => dispatchEvent(new Event("CookiebotOnConsentReady")));
  window.answerTool = (yes) => {
    const categories = `necessary:true,preferences:false,statistics:false,marketing:${yes}`;
    const text = `{stamp:'x',${categories},method:'explicit',ver:1,utc:1767225600000,region:'de'}`;
    document.cookie = `CookieConsent=${encodeURIComponent(text)}; Path=/; Max-Age=999`;
    Object.assign(Cookiebot, { hasResponse: true, consent: told(yes, "explicit") });
    dispatchEvent(new Event(yes ? "CookiebotOnAccept" : "CookiebotOnDecline"));
  };
})();
"""

# The list and the cookie hold the account's defaults, here a yes, before anybody answered.
ONETRUST = """
(() => {
  const groups = () => (/groups=([^&;]*)/.exec(document.cookie) || [])[1];
  const keep = (yes) => {
    const text = encodeURIComponent(`C0001:1,C0004:${yes ? 1 : 0}`);
    const value = `isGpcEnabled=0&datestamp=Thu+Jan+01+2026&version=202601.1.0&groups=${text}`;
    document.cookie = `OptanonConsent=${value}; Path=/; Max-Age=999`;
    window.OnetrustActiveGroups = yes ? ",C0001,C0004," : ",C0001,";
  };
  const tell = () => ["OneTrustGroupsUpdated", "OTConsentApplied"].forEach((name) =>
    dispatchEvent(new CustomEvent(name, { detail: OnetrustActiveGroups.split(",") })));
  keep((groups() || "C0004%3A1").includes("C0004%3A1"));
  addEventListener("load", tell);
  window.answerTool = (yes) => {
    keep(yes);
    document.cookie = "OptanonAlertBoxClosed=2026-01-01T00:00:00.000Z; Path=/; Max-Age=999";
    tell();
  };
})();
"""

# As under a law of opting out: all is on before the visitor has done anything.
COOKIEYES = """
(() => {
  const has = (part) => RegExp(`cookieyes-consent=[^;]*${part}`).test(document.cookie);
  const keep = (consent, action, advertisement) => {
    const value = `consentid:x,consent:${consent},action:${action},necessary:yes,advertisement:${advertisement}`;
    document.cookie = `cookieyes-consent=${value}; Path=/; Max-Age=999`;
  };
  const tell = (name) => document.dispatchEvent(new CustomEvent(name, { detail: {} }));
  if (!has("consentid")) keep("no", "", "yes");
  window.getCkyConsent = () => ({
    activeLaw: "gdpr",
    isUserActionCompleted: has("action:yes"),
    categories: { necessary: true, advertisement: has("advertisement:yes") },
  });
  addEventListener("load", () => tell("cookieyes_banner_load"));
  window.answerTool = (yes) => {
    keep(yes ? "yes" : "no", "yes", yes ? "yes" : "no");
    tell("cookieyes_consent_update");
  };
})();
"""

# It has no event: its banner sends a form, and the page loads anew.
WAGTAIL_TAG_MANAGER = """
(() => {
  const keep = (meta, marketing) => {
    const kept = btoa(JSON.stringify({ meta: { id: "x", ...meta }, state: { necessary: "true", marketing } }));
    document.cookie = `wtm=${encodeURIComponent(kept)}; Path=/; Max-Age=999`;
  };
  if (!document.cookie.includes("wtm=")) keep({}, "true");
  window.answerTool = (yes) => {
    keep({ set_timestamp: 1767225600.5 }, String(yes));
    location.reload();
  };
})();
"""

# Two buttons that tell the package's server, which keeps the answer where no script can read it.
DJANGO_COOKIE_CONSENT = """
document.addEventListener("DOMContentLoaded", () => {
  const button = (verb) => {
    const one = document.createElement("button");
    one.className = `cookie-consent__${verb}`;
    one.addEventListener("click", () => fetch(`/cookies/${verb}/`, { method: "POST" }));
    document.body.append(one);
    return one;
  };
  const [accept, decline] = ["accept", "decline"].map(button);
  window.answerTool = (yes) => (yes ? accept : decline).click();
});
"""

TCF = """
(() => {
  const listeners = [];
  const all = (ids, yes) => Object.fromEntries(ids.map((id) => [id, yes]));
  const data = (eventStatus) => {
    const yes = localStorage.tcf === "true";
    return {
      gdprApplies: true, isServiceSpecific: true, cmpStatus: "loaded", eventStatus,
      purpose: { consents: all([1, 2, 3, 4, 5, 6, 7, 8, 9, 10], yes), legitimateInterests: {} },
      vendor: { consents: all([755, METAS_VENDOR], yes), legitimateInterests: {} },
      publisher: { restrictions: {} },
      addtlConsent: yes ? "2~89.METAS_PROVIDER~dv.90" : "2~~dv.89.METAS_PROVIDER",
    };
  };
  window.__tcfapi = (command, version, callback) => {
    if (command !== "addEventListener") return;
    listeners.push(callback);
    setTimeout(() => callback(data(localStorage.tcf ? "tcloaded" : "cmpuishown"), true));
  };
  window.answerTool = (yes) => {
    localStorage.tcf = yes;
    listeners.forEach((callback) => callback(data("useractioncomplete"), true));
  };
})();
""".replace("METAS_VENDOR", str(METAS_VENDOR)).replace("METAS_PROVIDER", str(METAS_PROVIDER))

FUNCTION = """
window.metapixelConsent = () => ({ true: "granted", false: "denied" })[localStorage.answer] || "unknown";
window.answerTool = (yes) => {
  localStorage.answer = yes;
  document.dispatchEvent(new Event("metapixel:consent"));
};
"""


class Tool(NamedTuple):
    """A tool, and what a site's owner enters for it; ``category`` is left to be the usual one."""

    provider: str
    script: str
    vendor: int | None = None
    provider_id: int | None = None
    """Of TCF: the number of the additional consent."""
    loads_anew: bool = False
    """Whether the page is loaded again after an answer."""


TOOLS = {
    "django-cookie-consent": Tool("django_cookie_consent", DJANGO_COOKIE_CONSENT),
    "wagtail-tag-manager": Tool("wagtail_tag_manager", WAGTAIL_TAG_MANAGER, loads_anew=True),
    "cookiebot": Tool("cookiebot", COOKIEBOT),
    "onetrust": Tool("onetrust", ONETRUST),
    "cookieyes": Tool("cookieyes", COOKIEYES),
    "tcf-vendor": Tool("tcf", TCF, vendor=METAS_VENDOR),
    "tcf-additional-consent": Tool("tcf", TCF, provider_id=METAS_PROVIDER),
    "function": Tool("function", FUNCTION),
}
TCF_WITHOUT_META = {
    "tcf-no-number": Tool("tcf", TCF),
    "tcf-strangers-number": Tool("tcf", TCF, vendor=STRANGERS_VENDOR),
}
"""A site that named nobody, and one that named a vendor of whom the tool's list knows nothing."""
