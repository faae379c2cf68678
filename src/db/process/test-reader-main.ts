/** For tests: main module of a reader process. */

import { runReaderChild } from "./reader-child.ts";

runReaderChild();
