/** What a server refused, or that it was not reached (`status` 0); the message is for a person. */
export class Problem extends Error {
  constructor(status, message, errors = []) {
    super(message);
    this.status = status;
    this.errors = errors;
  }
}
