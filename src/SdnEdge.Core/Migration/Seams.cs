namespace SdnEdge.Core.Migration;

/// <summary>
/// What the MMS asks of whatever runs the virtual server: the lab's stand-in now, QEMU later. Each call is idempotent
/// and returns when the effect is there.
/// </summary>
public interface IServerDriver
{
    /// <summary>Stops the server and takes it off its site: from here on it neither sends nor receives (the blackout begins).</summary>
    Task PauseAsync(string server, CancellationToken cancel);

    /// <summary>Makes the server live at <paramref name="site"/> (the blackout ends).</summary>
    Task ResumeAsync(string server, string site, CancellationToken cancel);

    /// <summary>The site at which the server is live now; null while it is paused.</summary>
    Task<string?> LocateAsync(string server, CancellationToken cancel);
}
