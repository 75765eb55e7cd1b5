// Decisions on their way to the server. Kept in the browser until it has answered, in their order,
// so that neither a server that was killed nor a closed page loses one.

const WAITS = [500, 1000, 2000, 5000];
// Answers that another try would not change: the decision is told, and let go.
const HOPELESS = [404, 413, 422];

export class Outbox {
  constructor(name, send, { answered, state }) {
    this.name = `lesion-qa ${name}`;
    this.send = send;
    this.answered = answered;
    this.state = state;
    this.waiting = JSON.parse(localStorage.getItem(this.name) || "[]");
    this.running = null;
    this.last = null;
  }

  has(image) {
    return this.waiting.some((one) => one.image === image);
  }

  add(decision) {
    this.waiting.push(decision);
    this.keep();
    return this.flush();
  }

  keep() {
    try {
      localStorage.setItem(this.name, JSON.stringify(this.waiting));
    } catch {
      // No room: it stays in memory, and the page says how many wait.
    }
  }

  flush() {
    this.running ??= this.run().finally(() => (this.running = null));
    return this.running;
  }

  async run() {
    let tries = 0;
    while (this.waiting.length) {
      const one = this.waiting[0];
      try {
        const answer = await this.send(one);
        this.done();
        tries = 0;
        this.state("", this.waiting.length);
        this.answered(answer);
      } catch (error) {
        if (HOPELESS.includes(error.status)) {
          this.done();
          this.state(`${one.image}: ${error.message}`, this.waiting.length);
        } else {
          this.state("The server does not answer", this.waiting.length);
          await new Promise((go) => setTimeout(go, WAITS[Math.min(tries++, WAITS.length - 1)]));
        }
      }
    }
  }

  done() {
    this.waiting.shift();
    this.keep();
  }
}
