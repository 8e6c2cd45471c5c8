// Written by `doorbell desktop`: where Firefox finds the script that a woken one runs.
pref("general.config.filename", "doorbell.cfg");
// The script is not obscured.
pref("general.config.obscure_value", 0);
// The script starts the push client, which a sandboxed one cannot.
pref("general.config.sandbox_enabled", false);
