use super::Real;
pub struct Cpu<T>(T);
