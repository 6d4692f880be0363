//! What the fuzz targets do with their input. The functions are ordinary ones: the tests of each crate include
//! the module that concerns it and replay the corpus with it.

pub mod http3;
pub mod media;
pub mod moqt;
pub mod moqt_session;
