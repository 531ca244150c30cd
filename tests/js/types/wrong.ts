// What the scripts refuse, or never give: each marked line has to be an error, and tsc says so where one is not.
import type { ConsentState, ConsentTool, FiredEvent, Metapixel } from "../../../wagtail_metapixel/static/wagtail_metapixel/metapixel";

declare const api: Metapixel;
declare const consent: ConsentTool;
declare const event: FiredEvent;

// @ts-expect-error: it may be missing
window.metapixel.track("Contact");
// @ts-expect-error: so may each of its functions
window.metapixel?.track("Contact");
// @ts-expect-error: also where it is called without its window
metapixel.scan();
// @ts-expect-error: there is no constructor
new (window.metapixel as Metapixel)();

// @ts-expect-error: an action event is the server's
api.track("Purchase");
// @ts-expect-error: names are Meta's, letter by letter
api.track("contact");
// @ts-expect-error: an event has a name
api.track();
// @ts-expect-error: a browser reports no value
api.track("Contact", { value: 5 });
// @ts-expect-error: nor a currency beside a text
api.track("Contact", { content_name: "Hotline", currency: "EUR" });
// @ts-expect-error: texts only
api.track("Contact", { content_name: 5 });
// @ts-expect-error: not null either
api.track("Contact", { content_category: null });
// @ts-expect-error: parameters are an object
api.track("Contact", "Hotline");
// @ts-expect-error: there is no third argument
api.track("Contact", {}, { eventID: "1" });
// @ts-expect-error: it tells nothing of what became of it
export const id: string = api.track("Contact");

// @ts-expect-error: two names are known
api.on("error", () => {});
// @ts-expect-error: there is something to call
api.on("event");
// @ts-expect-error: an event is no text
api.on("event", (text: string) => text);
// @ts-expect-error: an answer is no event
api.on("consent", ({ event_id }) => event_id);
// @ts-expect-error: "revoked" is none of the answers
api.on("consent", (state) => state === "revoked");
// @ts-expect-error: what ends it takes nothing
api.on("event", () => {})("event");
// @ts-expect-error: what it returns is no emitter
api.on("event", () => {}).off();

// @ts-expect-error: nobody can be granted for
api.grant("marketing");
// @ts-expect-error: a denial takes nothing
api.deny(true);
// @ts-expect-error: a withdrawal takes nothing
api.revoke({ all: true });
// @ts-expect-error: the whole page is looked at
api.scan(document.body);
// @ts-expect-error: nothing comes back
export const looked: boolean = api.scan();

// @ts-expect-error: the response, not its promise
api.flush(fetch("/cart/add/"));
// @ts-expect-error: a response is needed
api.flush();
// @ts-expect-error: an XMLHttpRequest has no headers to read so
api.flush(new XMLHttpRequest());
// @ts-expect-error: the header alone does not tell of a redirect
api.flush({ url: "/", headers: new Headers() });
// @ts-expect-error: headers are asked, not indexed
api.flush({ url: "/", redirected: false, headers: { "Metapixel-Echo": "" } });

// @ts-expect-error: an event has no value of its own
event.value;
// @ts-expect-error: what a parameter is has to be looked at
event.params.value.toFixed();
// @ts-expect-error: its id is a text
export const number: number = event.event_id;

// @ts-expect-error: a tool has to be watched
export const blind: ConsentTool = { read: () => "granted" };
// @ts-expect-error: and read
export const mute: ConsentTool = { watch: () => {} };
// @ts-expect-error: three answers, no other
export const vague: ConsentTool = { read: () => "yes", watch: () => {} };
// @ts-expect-error: at once, without a promise
export const late: ConsentTool = { read: async () => "granted" as const, watch: () => {} };
// @ts-expect-error: whether the choice was kept
export const silent: ConsentTool = { read: () => "granted" as const, watch: () => {}, choose: () => {} };
// @ts-expect-error: "revoked" is none of the choices
consent.choose?.("revoked");
// @ts-expect-error: a tool need not be able to choose
consent.choose("granted");
// @ts-expect-error: a withdrawal is a choice and no answer
export const state: ConsentState = "withdrawn";
// @ts-expect-error: an adapter is an object
api.consent = "granted";

// @ts-expect-error: the companions' own names are not for a site
api.cookies;
// @ts-expect-error: nor is the talk with Meta's script
api.meta;
