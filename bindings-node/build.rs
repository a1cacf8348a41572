//! Sets the linker options of Node add-ons.

fn main() {
    napi_build::setup();
}
