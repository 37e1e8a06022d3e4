__kernel __attribute__((reqd_work_group_size(32, 1, 1)))
void register_arrays(__global const char* m0, __global const char* m1, __global const char* m2, __global char* m3, __global char* m4, int rows_, long o0, long o1, long o2, long o3, long o4) {
  __global const float* restrict x_ = (__global const float*)(m0 + o0);
  __global const int* restrict n_ = (__global const int*)(m1 + o1);
  __global const uint* restrict u_ = (__global const uint*)(m2 + o2);
  __global float* restrict y_ = (__global float*)(m3 + o3);
  __global int* restrict m_ = (__global int*)(m4 + o4);
  const int g_ = (int)get_group_id(0);
  const int t_ = (int)get_local_id(0);
  const int i_ = ((g_ * 32) + t_);
  float4 r_[2];
  int s_[1];
  r_[0] = (((float4)(0.5f)) * ((float4)(x_[i_])));
  r_[1] = (r_[0] + ((float4)(1.0f)));
  s_[0] = n_[i_];
  s_[0] = (s_[0] + 1);
  const float4 t0 = r_[0];
  const float4 t1 = r_[1];
  y_[i_] = (t0.z * t1.w);
  m_[i_] = s_[0];
}
