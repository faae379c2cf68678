/** Which Paceline this is, from package.json: the one place where the number is written. */

import packageJson from "../package.json" with { type: "json" };

export const version: string = packageJson.version;
