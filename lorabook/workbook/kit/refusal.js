/** What cannot be shown. Its message is that of Python's error. */
export class Refusal extends Error {}
