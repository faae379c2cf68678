/** Main module of a reader process. */

import { runReaderChild } from "../../db/process/reader-child.ts";

runReaderChild();
