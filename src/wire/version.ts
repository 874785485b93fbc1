/** A version of the Engine API: `1.45`. */
export class ApiVersion {
  readonly major: number
  readonly minor: number

  constructor(text: string) {
    const [major = 0, minor = 0] = text.split('.').map(Number)
    this.major = major
    this.minor = minor
  }

  atLeast(text: string): boolean {
    const other = new ApiVersion(text)
    return this.major > other.major || (this.major === other.major && this.minor >= other.minor)
  }
}
