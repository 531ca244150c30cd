// What docs/browser.md allows: each line of it has to compile.
import type {
  ConsentChoice, ConsentState, ConsentTool, EchoResponse, FiredEvent, Metapixel, UnsignedEventName, UnsignedParameters,
} from "../../../wagtail_metapixel/static/wagtail_metapixel/metapixel";

// Before the core has run, and where it is blocked.
window.metapixel?.track?.("Contact", { content_name: "Hotline" });
metapixel?.track?.("FindLocation");
globalThis.metapixel?.scan?.();

export const onClick = (api: Metapixel): void => {
  api.track("PageView");
  api.track("Contact", {});
  api.track("CustomizeProduct", { content_name: "Shoe", content_category: "Running" });
  api.grant();
  api.deny();
  api.revoke();
  api.scan();
};

const names: UnsignedEventName[] = ["PageView", "Contact", "FindLocation", "CustomizeProduct"];
const texts: UnsignedParameters = { content_category: "Download" };
names.forEach((name) => metapixel?.track?.(name, texts));

// Listening, and no longer.
export const listen = (api: Metapixel): (() => void) => {
  const stop: () => void = api.on("event", ({ event_name, event_id, params }) => {
    const text: string = event_name + event_id;
    console.log(text, params.value, Object.keys(params).length);
  });
  const log = (event: FiredEvent): void => console.log(event.event_name.length);
  api.on("event", log)();
  api.on("event", () => {});
  api.on("consent", (state) => {
    const isKnown: boolean = state === "granted" || state === "denied";
    const all: ConsentState = state;
    console.log(isKnown, all);
  });
  return stop;
};

// The echo: of fetch, and of a client that has no Response.
export const add = async (api: Metapixel): Promise<void> => {
  api.flush(await fetch("/cart/add/", { method: "POST" }));
  const other: EchoResponse = { url: "/cart/add/", redirected: false, headers: { get: () => null } };
  api.flush(other);
  api.flush({ url: "/cart/add/", redirected: true, headers: { get: (name) => (name === "Metapixel-Echo" ? "" : null) } });
};

// Adapters, as docs/browser.md describes them.
window.metapixel = window.metapixel || {};
window.metapixel.consent = {
  read() {
    return "unknown";
  },
  watch(callback) {
    document.addEventListener("tool:answer", () => callback());
  },
};

class Tool implements ConsentTool {
  private state: ConsentState = "unknown";
  read(): ConsentState {
    return this.state;
  }
  watch(callback: (state?: ConsentState) => void): void {
    callback(this.state);
  }
  async choose(choice: ConsentChoice): Promise<boolean> {
    this.state = choice === "granted" ? "granted" : "denied";
    return true;
  }
  refuse(): void {
    this.state = "denied";
  }
}
window.metapixel.consent = new Tool();
export const watching: ConsentTool = { read: () => "granted", watch: (callback) => callback("granted"), choose: () => true };
// What watch() returns is nobody's business, and many tools return something.
const watchers: unknown[] = [];
export const listed: ConsentTool = { read: () => "denied", watch: (callback) => watchers.push(callback) };

// A banner reads the answer.
export const isAsked = (): boolean => window.metapixel?.consent?.read() === "unknown";
