/** The types of `window.metapixel`. What each function does is told in docs/browser.md. */

export type ConsentState = "granted" | "denied" | "unknown";
export type ConsentChoice = "granted" | "denied" | "withdrawn";

/** What a browser may report by itself. All else is reported by `track()` on the server. */
export type UnsignedEventName = "PageView" | "Contact" | "FindLocation" | "CustomizeProduct";

/** Texts; at most 100 characters of each are kept, and none that holds an "@". */
export interface UnsignedParameters {
  content_name?: string;
  content_category?: string;
}

/** An event that was fired, by this page or by the server's echo. A copy: changing it changes nothing. */
export interface FiredEvent {
  event_name: string;
  event_id: string;
  params: Record<string, unknown>;
}

/** What `flush()` reads of a `Response`. */
export interface EchoResponse {
  readonly url: string;
  readonly redirected: boolean;
  readonly headers: { get(name: string): string | null };
}

/** A consent tool, as an adapter describes it. */
export interface ConsentTool {
  read(): ConsentState;
  watch(callback: (state?: ConsentState) => void): void;
  choose?(choice: ConsentChoice): boolean | PromiseLike<boolean>;
  /** Writes a refusal down in this browser at once, before the server is told. */
  refuse?(): void;
}

/** The public functions. None of them throws, and none returns a promise that is rejected. */
export interface Metapixel {
  track(name: UnsignedEventName, params?: UnsignedParameters): void;
  /** Returns a function that ends the subscription. */
  on(name: "event", callback: (event: FiredEvent) => void): () => void;
  on(name: "consent", callback: (state: ConsentState) => void): () => void;
  grant(): void;
  deny(): void;
  revoke(): void;
  flush(response: EchoResponse): void;
  scan(): void;
  /** Set by an adapter, in a file that stands before metapixel.js. */
  consent?: ConsentTool;
}

declare global {
  interface Window {
    /** Before metapixel.js has run, and where it is blocked, some of it is missing: `metapixel?.track?.(...)`. */
    metapixel?: Partial<Metapixel>;
  }
  /** The same, without its window. */
  var metapixel: Partial<Metapixel> | undefined;
}
