// One bundle, built outside of the repository. Grafana's components ask for icons and fonts by address: icons are in its package
// but for two, the fonts of its server come from a package of their own.
import { copyFileSync, cpSync, mkdirSync } from "node:fs";
import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

const PACKAGES = "../node_modules";
const INTER = `${PACKAGES}/@fontsource-variable/inter/files/inter-latin-wght`;
const MISSING = { "angle-double-left": "angle-left", "sync-slash": "sync" };
const FONTS = {
  "inter/Inter-Regular": "normal",
  "inter/Inter-Medium": "normal",
  "inter/Inter-Italic": "italic",
  "inter/Inter-MediumItalic": "italic",
  "roboto/L0xTDF4xlVMF-BfR8bXMIhJHg45mwgGEFl0_3vrtSM1J-gEPT5Ese6hmHSh0mQ": "normal",
};

function closeBundle() {
  const icons = "dist/public/build/img/icons";
  cpSync(`${PACKAGES}/@grafana/ui/dist/public/img/icons`, icons, { recursive: true });
  for (const [name, like] of Object.entries(MISSING)) copyFileSync(`${icons}/unicons/${like}.svg`, `${icons}/unicons/${name}.svg`);
  for (const folder of ["inter", "roboto"]) mkdirSync(`dist/public/fonts/${folder}`, { recursive: true });
  for (const [name, style] of Object.entries(FONTS)) copyFileSync(`${INTER}-${style}.woff2`, `dist/public/fonts/${name}.woff2`);
}

export default defineConfig({
  base: "./",
  logLevel: "warn",
  plugins: [react(), { name: "icons-and-fonts", closeBundle }],
  resolve: {
    alias: { "react-router-dom-v5-compat": "react-router-dom" },
    dedupe: ["react", "react-dom", "rxjs", "@grafana/data", "@grafana/ui", "@grafana/runtime", "@grafana/schema"],
  },
  build: { chunkSizeWarningLimit: 100000, reportCompressedSize: false, sourcemap: false },
});
