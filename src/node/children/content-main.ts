/** Main module of a process that reads the content of the served database. */

import { runContentChild } from "../../db/process/content/content-child.ts";

runContentChild();
