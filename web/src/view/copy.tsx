/** A button that copies. */
import { useSignal } from "@preact/signals";
import { LinkIcon } from "./icons";
import { text as words } from "./text";

export function CopyButton({ text, label }: { text: string; label: string }) {
  const answer = useSignal("");
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      answer.value = words.copied;
    } catch {
      answer.value = words.notCopied;
    }
    setTimeout(() => (answer.value = ""), 2000);
  };
  return (
    <button type="button" class="quiet copy" onClick={() => void copy()}>
      <LinkIcon />
      <span aria-live="polite">{answer.value || label}</span>
    </button>
  );
}
