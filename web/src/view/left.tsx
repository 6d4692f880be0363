/** After a call. */
import { text } from "./text";

export function Left({ rejoin, home }: { rejoin: () => void; home: () => void }) {
  return (
    <main class="welcome">
      <h1>{text.left}</h1>
      <div class="field after">
        <button type="button" onClick={rejoin}>
          {text.rejoin}
        </button>
        <button type="button" class="quiet" onClick={home}>
          {text.home}
        </button>
      </div>
    </main>
  );
}
