// One dialog that asks before anything is ended.

import { at } from "./dom.js";

/**
 * Asks, and does it when the answer is yes. What fails is said in the dialog, which then stays.
 *
 * @param {object} question
 * @param {string} question.title
 * @param {string} question.text what will happen
 * @param {string} question.yes the words on the button that does it
 * @param {() => Promise<void>} question.act
 */
export function confirm({ title, text, yes, act }) {
  const dialog = at("confirm");
  const button = at("confirm-yes");
  at("confirm-title").textContent = title;
  at("confirm-text").textContent = text;
  at("confirm-error").textContent = "";
  button.textContent = yes;
  button.disabled = false;
  button.onclick = async () => {
    button.disabled = true;
    try {
      await act();
      dialog.close();
    } catch (error) {
      at("confirm-error").textContent = error.message;
      button.disabled = false;
    }
  };
  dialog.showModal();
  // Whoever presses Return by habit ends nothing.
  at("confirm-no").focus();
}
