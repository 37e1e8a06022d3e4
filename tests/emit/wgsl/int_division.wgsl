var<private> mlc_nan: u32 = 0x7FC00000u;
var<private> mlc_infinity: u32 = 0x7F800000u;
@group(0) @binding(0) var<storage, read_write> x_: array<f32>;
@group(0) @binding(1) var<storage, read> n_: array<i32>;
@group(0) @binding(2) var<storage, read_write> u_: array<u32>;
@group(0) @binding(3) var<storage, read_write> y_: array<f32>;
@group(0) @binding(4) var<storage, read_write> m_: array<i32>;
struct Dims { rows_: i32 }
@group(0) @binding(5) var<uniform> dims_at: Dims;
@compute @workgroup_size(32)
fn int_division(@builtin(workgroup_id) group_at: vec3<u32>, @builtin(local_invocation_index) thread_at: u32) {
  let rows_: i32 = dims_at.rows_;
  let g_: i32 = i32(group_at.x + group_at.y * 32768u);
  if (g_ >= 2i) { return; }
  let t_: i32 = i32(thread_at);
  let i_: i32 = ((g_ * 32i) + t_);
  let a_: i32 = (abs(n_[i_]) & 1048575i);
  m_[i_] = ((a_ / 7i) + (a_ % 13i));
}
