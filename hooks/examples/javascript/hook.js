// Logs how the command ended: a hook for the world of wit/hook.wit.

import { getCommand, getOutcome } from "wrapper:hook/context@0.1.0";
import { log } from "wrapper:hook/logging@0.1.0";

export const run = {
  run() {
    const program = getCommand()[0];
    const { tag, val } = getOutcome();
    switch (tag) {
      case "exited": return log("info", `"${program}" exited with ${val}`);
      case "killed": return log("info", `"${program}" was killed by signal ${val.signal}`);
      case "not-started": return log("info", `"${program}" was not started: ${val.reason}`);
      default: return log("info", `"${program}" ended: ${val}`);
    }
  },
};
