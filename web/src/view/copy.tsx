/** A button that copies. */
import { useSignal } from "@preact/signals";

export function CopyButton({ text, label }: { text: string; label: string }) {
  const answer = useSignal("");
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      answer.value = "Copied";
    } catch {
      answer.value = "Not allowed";
    }
    setTimeout(() => (answer.value = ""), 2000);
  };
  return (
    <button type="button" class="quiet" onClick={() => void copy()}>
      <span aria-live="polite">{answer.value || label}</span>
    </button>
  );
}
