// How long to wait before the next attempt: longer each time, and never all clients at once.

const FIRST_S = 1;
const LONGEST_S = 30;

export class Backoff {
  #attempts = 0;

  /** Seconds: at least half of what doubling gives, the rest by chance. */
  next(random = Math.random) {
    const most = Math.min(FIRST_S * 2 ** this.#attempts, LONGEST_S);
    this.#attempts += 1;
    return most / 2 + (most / 2) * random();
  }

  /** It went well: the next wait is short again. */
  reset() {
    this.#attempts = 0;
  }
}
