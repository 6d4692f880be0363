/** What a person has chosen, kept in this browser. */
import { type Signal, signal } from "@preact/signals";

export interface Choices {
  readonly name: string;
  readonly camera: string | undefined;
  readonly microphone: string | undefined;
  readonly speaker: string | undefined;
  readonly echoCancellation: boolean;
  readonly noiseSuppression: boolean;
  readonly autoGainControl: boolean;
  /** Joins with camera or microphone on. */
  readonly joinsWithCamera: boolean;
  readonly joinsWithMicrophone: boolean;
}

const DEFAULTS: Choices = {
  name: "",
  camera: undefined,
  microphone: undefined,
  speaker: undefined,
  echoCancellation: true,
  noiseSuppression: true,
  autoGainControl: true,
  joinsWithCamera: true,
  joinsWithMicrophone: true,
};
const KEY = "roundtable-choices";

/** Where it is kept; a browser may forbid it. */
export interface Store {
  getItem(key: string): string | null;
  setItem(key: string, value: string): void;
}

export class Settings {
  readonly choices: Signal<Choices>;
  readonly #store: Store | undefined;

  constructor(store: Store | undefined) {
    this.#store = store;
    this.choices = signal({ ...DEFAULTS, ...this.#read() });
  }

  set(changed: Partial<Choices>): void {
    this.choices.value = { ...this.choices.value, ...changed };
    try {
      this.#store?.setItem(KEY, JSON.stringify(this.choices.value));
    } catch {
      // Not kept, that is all.
    }
  }

  #read(): Partial<Choices> {
    try {
      const kept: unknown = JSON.parse(this.#store?.getItem(KEY) ?? "{}");
      if (typeof kept !== "object" || kept === null) return {};
      // Of what was kept, only what is still of its kind.
      const fits = ([name, value]: [string, unknown]) => {
        if (!(name in DEFAULTS)) return false;
        const present = DEFAULTS[name as keyof Choices];
        return typeof value === (present === undefined ? "string" : typeof present);
      };
      return Object.fromEntries(Object.entries(kept).filter(fits)) as Partial<Choices>;
    } catch {
      return {};
    }
  }
}
